"""Several safety modules at once."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given

from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError
from agent_core.interfaces import Capability, PolicyLearner, SafetyConfig
from agent_core.policy_learners.bandits.linear import LinearConfig
from agent_core.safety.action_filter import ActionFilterConfig
from agent_core.safety.none import NoSafetyConfig
from agent_core.safety.stack import StackConfig
from agent_core.types import ActionSet, Doubles, Floats, ProblemSpec
from tests.support.learners import SPEC
from tests.support.strategies import action_sets, states


class _Lowest:
    """The worst return."""

    def of(self, quantiles: torch.Tensor) -> torch.Tensor:
        return quantiles[..., 0]

    def of_numpy(self, quantiles: Doubles) -> Doubles:
        lowest: Doubles = quantiles[..., 0]
        return lowest


class _RiskConfig(SafetyConfig):
    needs: ClassVar[frozenset[Capability]] = frozenset({"distribution"})

    def risk(self) -> _Lowest:
        return _Lowest()


class _ConstraintConfig(SafetyConfig):
    """Writes its name on the learner that it is given."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"replay"})
    name: str

    def constrain(self, learner: PolicyLearner, spec: ProblemSpec) -> PolicyLearner:
        del spec
        learner.names = [*getattr(learner, "names", []), self.name]  # type: ignore[attr-defined]
        return learner


def _stack(*parts: SafetyConfig) -> StackConfig:
    """Of parts that no policy file can name."""
    return StackConfig.model_construct(parts=parts)


_CHEAP = ActionFilterConfig.model_validate({"bounds": [{"feature": 0, "high": 0.5}]})
_NOT_A = ActionFilterConfig(denied=("a",))


def test_an_action_must_pass_every_filter() -> None:
    safety = StackConfig.model_validate({"parts": [_CHEAP.model_dump(), _NOT_A.model_dump()]})
    actions = ActionSet(("a", "b", "c"), np.array([[0.1], [0.2], [0.9]], np.float32))

    built = safety.build()

    assert built is not None
    assert built.allowed(np.zeros(1, np.float32), actions).tolist() == [False, True, False]


@given(state=states(1), actions=action_sets(features=1))
def test_a_stack_removes_what_any_part_removes_and_nothing_else(
    state: Floats, actions: ActionSet
) -> None:
    built = _stack(_CHEAP, NoSafetyConfig(), _NOT_A).build()

    assert built is not None
    expected = _CHEAP.build().allowed(state, actions) & _NOT_A.build().allowed(state, actions)
    assert np.array_equal(built.allowed(state, actions), expected)


def test_a_stack_without_filters_filters_nothing() -> None:
    assert _stack(NoSafetyConfig(), NoSafetyConfig()).build() is None


def test_it_needs_all_that_its_parts_need() -> None:
    assert _stack(_RiskConfig(), _ConstraintConfig(name="x")).needs == {"distribution", "replay"}


def test_the_one_measure_of_risk_counts() -> None:
    assert isinstance(_stack(_CHEAP, _RiskConfig()).risk(), _Lowest)
    assert _stack(_CHEAP).risk() is None


def test_two_measures_of_risk_are_refused_by_their_places() -> None:
    with pytest.raises(ConfigError, match=r"safety: parts\.0 and parts\.2 measure risk; keep one"):
        _parse({"kind": "stack", "parts": [{"kind": k} for k in ("cvar", "none", "wang")]})


def test_a_learner_that_lacks_what_a_part_needs_is_refused() -> None:
    with pytest.raises(ConfigError, match="'stack' needs 'distribution', which 'linear' lacks"):
        _parse({"kind": "stack", "parts": [{"kind": "cvar"}]})


def test_constraints_are_put_on_in_order() -> None:
    linear = LinearConfig()
    learner = linear.build_learner(linear.build_policy(SPEC), SPEC)

    constrained = _stack(_ConstraintConfig(name="first"), _ConstraintConfig(name="second"))

    assert constrained.constrain(learner, SPEC).names == ["first", "second"]  # type: ignore[attr-defined]


def _parse(safety: dict[str, Any]) -> None:
    parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 1},
            "actions": {"kind": "vector", "dim": 1},
            "policy_learner": {"kind": "linear"},
            "exploration": {"kind": "none"},
            "safety": safety,
        }
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"kind": "stack", "parts": []}], r"safety\.parts\.0\.kind: 'stack' is not known"),
        ([], r"safety\.parts: has too few items"),
        (
            [{"kind": "action_filter", "bounds": [{"feature": 0}]}],
            r"safety\.parts\.0\.bounds\.0: it limits nothing",
        ),
    ],
)
def test_a_policy_file_is_told_the_place(parts: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _parse({"kind": "stack", "parts": parts})
