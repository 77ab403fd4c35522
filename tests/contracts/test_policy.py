"""What every registered policy, and its numpy form, owes to whoever decides by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.interfaces import Policy, Scorer
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import ActionSet, Doubles, Floats, ProblemSpec
from tests.support.learners import LEARNERS, SPEC, action_set, agent_learner, made_up, ragged


def _for_each(config_classes: Sequence[type[Any]]) -> pytest.MarkDecorator:
    kinds = [c.model_fields["kind"].default for c in config_classes]
    return pytest.mark.parametrize("config_class", config_classes, ids=kinds)


every_policy = _for_each([c for c in LEARNERS if "sets" in c.capabilities])
with_spread = _for_each([c for c in LEARNERS if "spread" in c.capabilities])


def _trained(config_class: type[Any], spec: ProblemSpec = SPEC) -> Policy:
    learner = agent_learner(config_class(), spec)
    learner.learn(made_up(60, spec=spec))
    return _policy_of(learner)


def _policy_of(learner: AgentLearner) -> Policy:
    assert isinstance(learner.policy, Policy)
    return learner.policy


def _state(spec: ProblemSpec = SPEC) -> Floats:
    return np.random.Generator(np.random.PCG64(5)).standard_normal(spec.state_dim).astype("f4")


def _numpy_values(scorer: Scorer, state: Floats, actions: ActionSet) -> Doubles:
    return scorer.score(state, scorer.prepare(actions.features)).value


@every_policy
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


@every_policy
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


@every_policy
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


@every_policy
def test_prepared_rows_may_be_taken_from_a_catalog(config_class: type[Any]) -> None:
    scorer = _trained(config_class).scorer()
    catalog, state = action_set(np.random.default_rng(3), 50), _state()
    wanted = [40, 3, 17]

    from_catalog = scorer.score(state, scorer.prepare(catalog.features)[wanted]).value

    direct = scorer.score(state, scorer.prepare(catalog.features[wanted])).value
    np.testing.assert_allclose(from_catalog, direct, atol=1e-6)


@every_policy
def test_the_numpy_form_stays_what_it_was_while_learning_goes_on(config_class: type[Any]) -> None:
    learner = agent_learner(config_class())
    learner.learn(made_up(60))
    scorer, state = _policy_of(learner).scorer(), _state()
    actions = action_set(np.random.default_rng(4), 3)
    before = _numpy_values(scorer, state, actions)

    learner.learn(made_up(200, seed=1))

    np.testing.assert_array_equal(_numpy_values(scorer, state, actions), before)
    assert not np.array_equal(_numpy_values(_policy_of(learner).scorer(), state, actions), before)


@every_policy
def test_the_state_dict_is_all_that_is_needed_to_score_alike(config_class: type[Any]) -> None:
    policy, other = _trained(config_class), config_class().build_policy(SPEC)
    actions, state = action_set(np.random.default_rng(6), 5), _state()

    other.load_state_dict(policy.state_dict())

    expected = _numpy_values(policy.scorer(), state, actions)
    np.testing.assert_array_equal(_numpy_values(other.scorer(), state, actions), expected)


@every_policy
def test_a_spread_comes_from_exactly_those_that_claim_one(config_class: type[Any]) -> None:
    scorer = config_class().build_policy(SPEC).scorer()
    actions = action_set(np.random.default_rng(7), 3)

    scores = scorer.score(_state(), scorer.prepare(actions.features))

    assert (scores.spread is not None) == ("spread" in config_class.capabilities)


@every_policy
@pytest.mark.parametrize("size", [1, 10, 500])
def test_values_alone_are_the_values_of_the_scores_to_the_last_bit(
    config_class: type[Any], size: int
) -> None:
    scorer = _trained(config_class).scorer()
    prepared = scorer.prepare(action_set(np.random.default_rng(8), size).features)

    alone = scorer.value(_state(), prepared)

    assert alone.dtype == np.float64
    assert alone.tobytes() == scorer.score(_state(), prepared).value.tobytes()


@with_spread
def test_the_spread_is_wide_when_cold_and_narrows_where_something_was_seen(
    config_class: type[Any],
) -> None:
    learner, seen = agent_learner(config_class()), made_up(1)[0]
    action = seen.actions.features[[seen.action]]
    cold = _deviation(_policy_of(learner), seen.state, action)

    learner.learn([seen] * 20)

    assert cold > 0.1
    assert _deviation(_policy_of(learner), seen.state, action) < cold / 2


def _deviation(policy: Policy, state: Floats, action: Floats) -> float:
    scorer = policy.scorer()
    spread = scorer.score(state, scorer.prepare(action)).spread
    assert spread is not None
    return float(np.linalg.norm(spread[0]))
