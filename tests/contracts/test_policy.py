"""What every registered policy, and its numpy form, owes to whoever decides by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agent_core.interfaces import Policy, Scorer
from agent_core.types import ActionSet, Doubles, Floats, ProblemSpec
from tests.support.learners import LEARNERS, SPEC, action_set, agent_learner, made_up, ragged

pytestmark = pytest.mark.parametrize(
    "config_class", LEARNERS, ids=lambda config: config.model_fields["kind"].default
)


def _trained(config_class: type[Any], spec: ProblemSpec = SPEC) -> Policy:
    learner = agent_learner(config_class(), spec)
    learner.learn(made_up(60, spec=spec))
    return learner.policy


def _state(spec: ProblemSpec = SPEC) -> Floats:
    return np.random.Generator(np.random.PCG64(5)).standard_normal(spec.state_dim).astype("f4")


def _numpy_values(scorer: Scorer, state: Floats, actions: ActionSet) -> Doubles:
    return scorer.score(state, scorer.prepare(actions.features)).value


@pytest.mark.parametrize("state_dim", [0, 1, 17])
@pytest.mark.parametrize("size", [1, 2, 10, 1000])
def test_the_numpy_form_agrees_with_torch(
    config_class: type[Any], size: int, state_dim: int
) -> None:
    spec = ProblemSpec(state_dim, 4, 1000)
    policy = _trained(config_class, spec)
    actions = action_set(np.random.default_rng(size), size, dim=4)
    state = _state(spec)

    got = _numpy_values(policy.scorer(), state, actions)

    expected = policy.values(torch.from_numpy(state).unsqueeze(0), ragged([actions]))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-4, atol=1e-4)


def test_a_score_does_not_depend_on_the_other_actions(config_class: type[Any]) -> None:
    scorer = _trained(config_class).scorer()
    actions, state = action_set(np.random.default_rng(1), 6), _state()

    together = scorer.score(state, scorer.prepare(actions.features))

    for i in range(6):
        alone = scorer.score(state, scorer.prepare(actions.features[i : i + 1]))
        np.testing.assert_allclose(alone.value, together.value[i : i + 1], atol=1e-6)
        if together.spread is not None:
            assert alone.spread is not None
            np.testing.assert_allclose(alone.spread[0], together.spread[i], atol=1e-6)


def test_a_value_in_a_batch_does_not_depend_on_the_other_sets(config_class: type[Any]) -> None:
    policy = _trained(config_class)
    generator = np.random.default_rng(2)
    small, large = action_set(generator, 2), action_set(generator, 300)
    empty = ActionSet((), np.zeros((0, SPEC.action_dim), np.float32))
    states = torch.from_numpy(generator.standard_normal((4, SPEC.state_dim)).astype("f4"))

    batch = policy.values(states, ragged([small, empty, large, small]))
    alone = policy.values(states[:1], ragged([small]))

    assert batch.shape == (304,)
    torch.testing.assert_close(batch[:2], alone, atol=1e-5, rtol=1e-5)


def test_prepared_rows_may_be_taken_from_a_catalog(config_class: type[Any]) -> None:
    scorer = _trained(config_class).scorer()
    catalog, state = action_set(np.random.default_rng(3), 50), _state()
    wanted = [40, 3, 17]

    from_catalog = scorer.score(state, scorer.prepare(catalog.features)[wanted]).value

    direct = scorer.score(state, scorer.prepare(catalog.features[wanted])).value
    np.testing.assert_allclose(from_catalog, direct, atol=1e-6)


def test_the_numpy_form_stays_what_it_was_while_learning_goes_on(config_class: type[Any]) -> None:
    learner = agent_learner(config_class())
    learner.learn(made_up(60))
    scorer, state = learner.policy.scorer(), _state()
    actions = action_set(np.random.default_rng(4), 3)
    before = _numpy_values(scorer, state, actions)

    learner.learn(made_up(200, seed=1))

    np.testing.assert_array_equal(_numpy_values(scorer, state, actions), before)
    assert not np.array_equal(_numpy_values(learner.policy.scorer(), state, actions), before)


def test_the_state_dict_is_all_that_is_needed_to_score_alike(config_class: type[Any]) -> None:
    policy, other = _trained(config_class), config_class().build_policy(SPEC)
    actions, state = action_set(np.random.default_rng(6), 5), _state()

    other.load_state_dict(policy.state_dict())

    expected = _numpy_values(policy.scorer(), state, actions)
    np.testing.assert_array_equal(_numpy_values(other.scorer(), state, actions), expected)


def test_those_that_claim_a_spread_are_uncertain_when_cold_and_less_so_when_taught(
    config_class: type[Any],
) -> None:
    learner = agent_learner(config_class())
    transitions = made_up(60)
    repeated = [transitions[0]] * 20
    taken = transitions[0].actions.features[[transitions[0].action]]

    cold = learner.policy.scorer().score(_state(), learner.policy.scorer().prepare(taken)).spread
    if "spread" not in config_class.capabilities:
        assert cold is None
        return
    learner.learn([])
    state = transitions[0].state
    before = _deviation(learner.policy, state, taken)
    learner.learn(repeated)

    assert before > 0.1
    assert _deviation(learner.policy, state, taken) < before / 2


def _deviation(policy: Policy, state: Floats, action: Floats) -> float:
    scorer = policy.scorer()
    spread = scorer.score(state, scorer.prepare(action)).spread
    assert spread is not None
    return float(np.linalg.norm(spread[0]))
