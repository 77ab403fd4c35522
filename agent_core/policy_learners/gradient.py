"""One guarded optimizer step, shared by everything that learns by gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, TypeAlias

import torch
from pydantic import Field

from agent_core.functional import adam
from agent_core.interfaces import TrainingState
from agent_core.policy_learners.weights import Weights

MaxGradientNorm: TypeAlias = Annotated[float | None, Field(gt=0)]
"""The Euclidean norm to which the gradient of one batch is cut; None cuts nothing. A mean is learned from all batches
alike: where those that hold a rare, large reward are cut, what earns it seems to be worth less."""


class Step(NamedTuple):
    """What came of one step: scalar metrics, and `moved`, a scalar, 1 if the weights moved, else 0."""

    metrics: dict[str, torch.Tensor]
    moved: torch.Tensor


class GradientStep:
    """AdamW which refuses a gradient that is not finite, and cuts one that is longer than `max_norm`.

    Nothing here asks for the value of a number, so a step can be part of a compiled program.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        learning_rate: float,
        weight_decay: float,
        max_norm: MaxGradientNorm,
    ) -> None:
        self.weights = weights
        self._rates = adam.Rates(learning_rate, weight_decay)
        self._max_norm = math.inf if max_norm is None else max_norm
        self._flat = torch.zeros(2, len(weights.flat), device=weights.flat.device)
        self._steps = torch.zeros(1, device=weights.flat.device)
        self._moments = adam.Moments(self._flat[0], self._flat[1], self._steps)
        self._descend = adam.fused
        self.average: Callable[[torch.Tensor], None] | None = None
        """Makes a gradient the mean of those of several processes, where there are more than one."""

    def descend(self, loss: torch.Tensor, after: Step | None = None) -> Step:
        """Moves the weights one step down `loss`, unless the gradient holds NaN or infinity.

        `after`: a step that must have been taken for this one to be.
        """
        gradient = self.weights.gradient(loss)
        with torch.no_grad():
            if self.average is not None:
                self.average(gradient)
            norm = torch.linalg.vector_norm(gradient)
            refused = (~norm.isfinite()).float()
            if after is not None:
                refused = refused.maximum(1 - after.moved)
            scale = (self._max_norm / (norm + 1e-6)).clamp(max=1.0)
            at_rest = refused.reshape(1)
            self._descend(self.weights.flat, gradient * scale, self._moments, self._rates, at_rest)
        metrics = {"loss": loss.detach(), "gradient_norm": norm, SKIPPED: refused}
        return Step(metrics, 1 - refused)

    @property
    def state(self) -> list[torch.Tensor]:
        return [self._moments.first, self._moments.second, self._moments.steps]

    def rebase(self, state: Sequence[torch.Tensor]) -> None:
        self._moments = adam.Moments(*state)
        self._descend = adam.spelled_out

    def training_state(self) -> TrainingState:
        """Moments and how many steps were taken."""
        return {"moments": self._flat, "steps": self._steps}

    def load_training_state(self, state: TrainingState) -> None:
        """Continues bit-exactly from `training_state()`."""
        self._flat.copy_(state["moments"])
        self._steps.copy_(state["steps"])


SKIPPED = "skipped_non_finite"
"""The metric of a step that was refused: 1, else 0."""
