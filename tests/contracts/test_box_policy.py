"""What every policy over a box, and its numpy form, owes to whoever decides by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.interfaces import BoxPolicy
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import Box, Floats, ProblemSpec
from tests.support.learners import BOX_SPEC, LEARNERS, agent_learner, made_up

_BOXES = [c for c in LEARNERS if "box" in c.capabilities]
_DRAWERS = [c for c in _BOXES if "actor" in c.capabilities]
# Limits that float32 cannot hold: rounding to the nearest would leave this box on both sides.
_ODD_SPEC = ProblemSpec(3, 2, 1, box=Box((0.1, -1e4), (0.3, 1e4 / 3)))


def _kind(config_class: type[Any]) -> str:
    return str(config_class.model_fields["kind"].default)


every_policy = pytest.mark.parametrize("config_class", _BOXES, ids=_kind)
every_drawer = pytest.mark.parametrize("config_class", _DRAWERS, ids=_kind)


def _small(config_class: type[Any]) -> Any:
    return config_class(hidden=(16, 16))


def _policy_of(learner: AgentLearner) -> BoxPolicy:
    assert isinstance(learner.policy, BoxPolicy)
    return learner.policy


def _trained(config_class: type[Any], spec: ProblemSpec = BOX_SPEC) -> BoxPolicy:
    learner = agent_learner(_small(config_class), spec)
    learner.learn(made_up(40, spec=spec))
    return _policy_of(learner)


def _states(count: int, dim: int = 3) -> Floats:
    return np.random.Generator(np.random.PCG64(5)).normal(0, 3, (count, dim)).astype("f4")


def test_something_is_checked_here() -> None:
    assert _BOXES
    assert _DRAWERS


@every_policy
@pytest.mark.parametrize("spec", [BOX_SPEC, _ODD_SPEC, ProblemSpec(1, 1, 1, box=Box((-1,), (1,)))])
def test_the_numpy_form_agrees_with_torch_and_stays_in_the_box(
    config_class: type[Any], spec: ProblemSpec
) -> None:
    policy, states = _trained(config_class, spec), _states(50, spec.state_dim)
    scorer = policy.scorer()
    assert spec.box is not None

    got = np.stack([scorer.mean(state) for state in states])

    expected = policy.means(torch.from_numpy(states)).detach().numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * max(np.abs(spec.box.high)))
    for means in (got.astype(np.float64), expected.astype(np.float64)):
        assert (means >= spec.box.low).all()
        assert (means <= spec.box.high).all()


@every_policy
def test_the_mean_does_not_depend_on_chance(config_class: type[Any]) -> None:
    scorer, state = _trained(config_class).scorer(), _states(1)[0]
    first = scorer.mean(state)

    scorer.draw(state, 1)
    torch.randn(3, generator=torch.Generator().manual_seed(1))

    assert scorer.mean(state).tobytes() == first.tobytes()


@every_policy
def test_the_numpy_form_stays_what_it_was_while_learning_goes_on(config_class: type[Any]) -> None:
    learner = agent_learner(_small(config_class))
    learner.learn(made_up(40, spec=BOX_SPEC))
    scorer, state = _policy_of(learner).scorer(), _states(1)[0]
    before = scorer.mean(state), scorer.draw(state, 7)

    learner.learn(made_up(40, seed=1, spec=BOX_SPEC))

    np.testing.assert_array_equal(scorer.mean(state), before[0])
    np.testing.assert_array_equal(scorer.draw(state, 7)[0], before[1][0])
    assert not np.array_equal(_policy_of(learner).scorer().mean(state), before[0])


@every_policy
def test_the_state_dict_is_all_that_is_needed_to_act_alike(config_class: type[Any]) -> None:
    policy, other = _trained(config_class), _small(config_class).build_policy(BOX_SPEC)
    state = _states(1)[0]

    other.load_state_dict(policy.state_dict())

    scorer, restored = policy.scorer(), other.scorer()
    np.testing.assert_array_equal(restored.mean(state), scorer.mean(state))
    np.testing.assert_array_equal(restored.draw(state, 3)[0], scorer.draw(state, 3)[0])


@every_policy
def test_a_distribution_comes_from_exactly_those_that_claim_one(config_class: type[Any]) -> None:
    scorer, state = _trained(config_class).scorer(), _states(1)[0]

    action, density = scorer.draw(state, 3)

    if config_class in _DRAWERS:
        assert 0 < density < math.inf
        assert not np.array_equal(action, scorer.mean(state))
    else:
        assert density == math.inf
        np.testing.assert_array_equal(action, scorer.mean(state))


@every_drawer
def test_draws_are_functions_of_their_seeds_and_lie_in_the_box(config_class: type[Any]) -> None:
    scorer, state = _trained(config_class, _ODD_SPEC).scorer(), _states(1)[0]
    assert _ODD_SPEC.box is not None

    drawn = [scorer.draw(state, seed) for seed in range(200)]

    again = [scorer.draw(state, seed) for seed in range(200)]
    assert [a.tobytes() for a, _ in drawn] == [a.tobytes() for a, _ in again]
    assert [d for _, d in drawn] == [d for _, d in again]
    actions = np.stack([a for a, _ in drawn])
    assert actions.dtype == np.float32
    assert (actions.astype(np.float64) >= _ODD_SPEC.box.low).all()
    assert (actions.astype(np.float64) <= _ODD_SPEC.box.high).all()


@every_drawer
def test_the_density_is_that_of_the_draws(config_class: type[Any]) -> None:
    # The mean of 1/density over the draws that fall into a region is the size of the region.
    spec = ProblemSpec(3, 1, 1, box=Box((-30.0,), (50.0,)))
    scorer, state = _trained(config_class, spec).scorer(), _states(1)[0] / 3

    drawn = [scorer.draw(state, seed) for seed in range(8000)]

    actions = np.array([a[0] for a, _ in drawn], np.float64)
    densities = np.array([d for _, d in drawn])
    low, high = np.quantile(actions, [0.2, 0.8])
    size = np.where((actions > low) & (actions < high), 1 / densities, 0).mean()
    assert size == pytest.approx(high - low, rel=0.06)
