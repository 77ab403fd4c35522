"""What every safety module owes: as a filter, as a measure of risk, and as a constraint on learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter

from agent_core.interfaces import SafetyConfig, SafetyModule
from agent_core.policy_learners.value_based.qr_dqn import QrDqnConfig
from agent_core.registry import AnySafety, members
from agent_core.types import ActionSet, Doubles, Floats, RiskMeasure
from tests.support.learners import SPEC
from tests.support.strategies import action_sets, states

_EXAMPLES: dict[str, dict[str, Any]] = {
    "reward_constrained": {"cost_limit": 0.5},
    "action_filter": {"denied": ["0", "1"], "bounds": [{"feature": 1, "low": -2, "high": 2}]},
    "stack": {
        "parts": [
            {"kind": "action_filter", "denied": ["0"]},
            {"kind": "action_filter", "bounds": [{"feature": 0, "low": 0}]},
            {"kind": "cvar"},
            {"kind": "reward_constrained", "cost_limit": 0.5},
        ]
    },
}
"""What a kind must be told, or is more interesting with."""
_CONFIGS: list[Any] = [
    TypeAdapter(AnySafety).validate_python({"kind": kind, **_EXAMPLES.get(kind, {})})
    for kind in (member.model_fields["kind"].default for member in members(AnySafety))
]


def _each(configs: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("config", configs, ids=[config.kind for config in configs])


_FILTERS = [config for config in _CONFIGS if config.build() is not None]
_RISKS = [config for config in _CONFIGS if config.risk() is not None]
each_safety, each_filter, each_risk = _each(_CONFIGS), _each(_FILTERS), _each(_RISKS)


def _filter(config: SafetyConfig) -> SafetyModule:
    built = config.build()
    assert built is not None
    return built


def test_every_registered_safety_module_is_checked_here() -> None:
    assert {type(config) for config in _CONFIGS} == set(members(AnySafety))
    for method, checked in (("build", _FILTERS), ("risk", _RISKS)):
        own = {
            m for m in members(AnySafety) if getattr(m, method) is not getattr(SafetyConfig, method)
        }
        assert {type(config) for config in checked} == own


@each_filter
@given(state=states(2), actions=action_sets(features=2))
def test_it_answers_for_each_action_and_changes_nothing(
    config: SafetyConfig, state: Floats, actions: ActionSet
) -> None:
    before = state.tobytes(), actions.features.tobytes()

    mask = _filter(config).allowed(state, actions)

    assert mask.dtype == np.bool_
    assert mask.shape == (len(actions),)
    assert before == (state.tobytes(), actions.features.tobytes())


@each_filter
def test_it_accepts_an_empty_action_set(config: SafetyConfig) -> None:
    empty = ActionSet((), np.zeros((0, 2), dtype=np.float32))

    assert _filter(config).allowed(np.zeros(2, dtype=np.float32), empty).shape == (0,)


# -- measures of risk -----------------------------------------------------------------------------

returns = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=st.floats(-100, 100)
).map(lambda table: np.sort(table, axis=1))


def _risk(config: SafetyConfig) -> RiskMeasure:
    risk = config.risk()
    assert risk is not None
    return risk


@each_risk
@given(quantiles=returns)
def test_torch_and_numpy_agree_and_the_returns_stay_as_they_were(
    config: SafetyConfig, quantiles: Doubles
) -> None:
    before = quantiles.tobytes()

    worth = _risk(config).of_numpy(quantiles)

    assert worth.shape == (len(quantiles),)
    np.testing.assert_allclose(
        _risk(config).of(torch.from_numpy(quantiles)), worth, rtol=1e-9, atol=1e-9
    )
    assert quantiles.tobytes() == before


@each_risk
@given(quantiles=returns, paid=st.floats(-100, 100))
def test_what_is_paid_for_certain_is_worth_itself_whatever_the_risk(
    config: SafetyConfig, quantiles: Doubles, paid: float
) -> None:
    risk = _risk(config)

    more = risk.of_numpy(quantiles + paid)

    np.testing.assert_allclose(more, risk.of_numpy(quantiles) + paid, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(risk.of_numpy(np.full((1, 7), paid)), [paid], atol=1e-9)


# -- constraints on learning ----------------------------------------------------------------------


@each_safety
def test_a_constraint_keeps_the_policy_and_only_what_learns_wraps_the_learner(
    config: SafetyConfig,
) -> None:
    learner_config = QrDqnConfig(hidden=(4,))
    learner = learner_config.build_learner(learner_config.build_policy(SPEC), SPEC)

    constrained = config.constrain(learner, SPEC)

    assert constrained.policy is learner.policy
    assert config.is_learned == (constrained is not learner)
    saved = len(constrained.training_state()) - len(learner.training_state())
    assert (saved > 0) == config.is_learned


@each_safety
def test_what_was_written_is_read_back(config: Any) -> None:
    written = config.model_dump(mode="json")

    assert TypeAdapter(AnySafety).validate_python(written) == config
