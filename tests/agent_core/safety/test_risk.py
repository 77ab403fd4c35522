"""Risk measures by hand, on four equally likely returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_core.functional.risk import cpw_weights, wang_weights
from agent_core.interfaces import SafetyConfig
from agent_core.safety.risk import (
    CpwConfig,
    CvarConfig,
    MeanVarianceConfig,
    VarConfig,
    WangConfig,
)
from agent_core.types import RiskMeasure

_KINDS: list[type[Any]] = [MeanVarianceConfig, CvarConfig, VarConfig, WangConfig, CpwConfig]
every_kind = pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind().kind)
_RETURNS = torch.tensor([-4.0, 0.0, 2.0, 6.0])


def _risk(config: SafetyConfig) -> RiskMeasure:
    risk = config.risk()
    assert risk is not None
    return risk


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # Mean 4 / 4 = 1. Variance: (25 + 1 + 1 + 25) / 4 = 13.
        (MeanVarianceConfig(beta=0), 1.0),
        (MeanVarianceConfig(beta=0.5), 1 - 6.5),
        # The worst half: (-4 + 0) / 2. The worst 3/8: -4 whole and half of 0, so -4 / 1.5.
        (CvarConfig(alpha=0.5), -2.0),
        (CvarConfig(alpha=0.375), -4 / 1.5),
        (CvarConfig(alpha=0.01), -4.0),
        (CvarConfig(alpha=1), 1.0),
        # 0 is not exceeded with probability 1/2; nothing lower is with 0.51.
        (VarConfig(alpha=0.5), 0.0),
        (VarConfig(alpha=0.51), 2.0),
        (VarConfig(alpha=0.01), -4.0),
        (VarConfig(alpha=1), 6.0),
        (WangConfig(eta=0), 1.0),
        # Phi(Phi^-1(1/4, 1/2, 3/4) + 1) = Phi(0.3255, 1, 1.6745) = 0.62760, 0.84134, 0.95298, so the
        # weights are 0.62760, 0.21374, 0.11164 and 0.04702: -2.51040 + 0 + 0.22328 + 0.28212.
        (WangConfig(eta=-1), -2.0050),
        (CpwConfig(eta=1), 1.0),
        # h(1/4) = 0.5 / (0.5 + 0.75^0.5)^2 = 0.5 / 1.86603 = 0.26795; h(1/2) = 0.70711 / 2 = 0.35355;
        # h(3/4) = 0.86603 / 1.86603 = 0.46410. Weights 0.26795, 0.08560, 0.11055, 0.53590.
        (CpwConfig(eta=0.5), -1.07180 + 0.22110 + 3.21540),
    ],
    ids=repr,
)
def test_four_returns_are_worth_what_they_are_worth_by_hand(
    config: SafetyConfig, expected: float
) -> None:
    assert _risk(config).of(_RETURNS).item() == pytest.approx(expected, abs=2e-4)


@every_kind
@given(
    returns=st.lists(st.lists(st.floats(-100, 100), min_size=5, max_size=5), min_size=1, max_size=4)
)
def test_torch_and_numpy_agree(kind: type[Any], returns: list[list[float]]) -> None:
    ordered = np.sort(np.array(returns), axis=1)
    risk = _risk(kind())

    expected = risk.of(torch.from_numpy(ordered)).numpy()

    np.testing.assert_allclose(risk.of_numpy(ordered), expected, rtol=1e-9, atol=1e-9)


@every_kind
def test_a_certain_return_is_worth_itself(kind: type[Any]) -> None:
    certain = torch.full((2, 7), 3.5)

    torch.testing.assert_close(_risk(kind()).of(certain), torch.tensor([3.5, 3.5]))


@every_kind
def test_no_distributions_at_all_are_worth_nothing_at_all(kind: type[Any]) -> None:
    assert _risk(kind()).of(torch.zeros(0, 7)).shape == (0,)


@every_kind
def test_only_learners_of_distributions_may_be_judged(kind: type[Any]) -> None:
    assert kind.needs == {"distribution"}
    assert kind().build() is None


@pytest.mark.parametrize("count", [2, 3, 32, 100])
@pytest.mark.parametrize("eta", [0.3, 0.71, 1.0])
def test_no_return_counts_for_less_than_nothing(count: int, eta: float) -> None:
    for weights in (cpw_weights(count, eta), wang_weights(count, -6 * eta)):
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1.0)


def test_a_share_that_rounding_lifts_above_a_whole_number_is_that_number() -> None:
    # 0.07 * 100 is 7.000000000000001 in floating point; the quantile is the seventh return.
    assert _risk(VarConfig(alpha=0.07)).of(torch.arange(1.0, 101.0)).item() == 7.0


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (CvarConfig, {"alpha": 0}),
        (VarConfig, {"alpha": 1.5}),
        (MeanVarianceConfig, {"beta": -1}),
        (CpwConfig, {"eta": 0.2}),
    ],
)
def test_a_setting_without_a_meaning_is_refused(kind: type[Any], setting: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        kind(**setting)
