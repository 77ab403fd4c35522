"""Judges whole distributions of returns, where safety is not to be had from the mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from agent_core.functional.risk import cpw_weights, cvar_weights, var_weights, wang_weights
from agent_core.interfaces import Capability, SafetyConfig
from agent_core.types import Doubles, RiskMeasure


class MeanVarianceConfig(SafetyConfig):
    """Maximizes the mean minus `beta` times the variance of returns (Mannor & Tsitsiklis 2011). `beta`: per
    unit of return."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"distribution"})
    kind: Literal["mean_variance"] = "mean_variance"
    beta: float = Field(default=0.1, ge=0, le=1e6)

    def risk(self) -> RiskMeasure:
        return MeanVariance(self.beta)


class CvarConfig(SafetyConfig):
    """Maximizes the mean of the worst share `alpha` of returns (Rockafellar & Uryasev 2000)."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"distribution"})
    kind: Literal["cvar"] = "cvar"
    alpha: float = Field(default=0.25, gt=0, le=1)

    def risk(self) -> RiskMeasure:
        return Distortion(partial(cvar_weights, alpha=self.alpha))


class VarConfig(SafetyConfig):
    """Maximizes the return that all but the worst share `alpha` reach (Rockafellar & Uryasev 2000, who have it
    beside the mean of that share)."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"distribution"})
    kind: Literal["var"] = "var"
    alpha: float = Field(default=0.25, gt=0, le=1)

    def risk(self) -> RiskMeasure:
        return Distortion(partial(var_weights, alpha=self.alpha))


class WangConfig(SafetyConfig):
    """Shifts all returns to the worse by -`eta` normal deviations; above 0 to the better (Wang 2000)."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"distribution"})
    kind: Literal["wang"] = "wang"
    eta: float = Field(default=-0.75, ge=-6, le=6)

    def risk(self) -> RiskMeasure:
        return Distortion(partial(wang_weights, eta=self.eta))


class CpwConfig(SafetyConfig):
    """Counts both extremes for more than their probability, as people do; 1 does not (Tversky & Kahneman 1992,
    eq. 6)."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"distribution"})
    kind: Literal["cpw"] = "cpw"
    eta: float = Field(default=0.71, ge=0.3, le=1)

    def risk(self) -> RiskMeasure:
        return Distortion(partial(cpw_weights, eta=self.eta))


@dataclass(frozen=True)
class MeanVariance:
    """mean - beta * variance, the variance of K equally likely returns (Mannor & Tsitsiklis 2011)."""

    beta: float

    def of(self, quantiles: torch.Tensor) -> torch.Tensor:
        mean = quantiles.mean(-1)
        # `var` warns where there are no distributions at all, as when no decision of a batch has a next.
        return mean - self.beta * (quantiles - mean.unsqueeze(-1)).square().mean(-1)

    def of_numpy(self, quantiles: Doubles) -> Doubles:
        measured: Doubles = quantiles.mean(axis=-1) - self.beta * quantiles.var(axis=-1)
        return measured


class Distortion:
    """A weighted mean of the ordered returns; `weights`: from their number to `[K]`."""

    def __init__(self, weights: Callable[[int], Doubles]) -> None:
        self._weights = lru_cache(weights)

    def of(self, quantiles: torch.Tensor) -> torch.Tensor:
        weights = torch.from_numpy(self._weights(quantiles.shape[-1]))
        return quantiles @ weights.to(quantiles)

    def of_numpy(self, quantiles: Doubles) -> Doubles:
        measured: Doubles = quantiles @ self._weights(quantiles.shape[-1])
        return measured
