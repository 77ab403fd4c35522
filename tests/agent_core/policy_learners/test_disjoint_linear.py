"""One linear model for each action, by hand, while actions come and go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agent_core.action_representation.position import PositionConfig
from agent_core.functional.keys import key_of
from agent_core.policy_learners.bandits.disjoint_linear import (
    DisjointLinearConfig,
    DisjointLinearLearner,
    DisjointLinearPolicy,
)
from agent_core.training.collate import collate
from agent_core.types import ActionScores, ActionSet, ProblemSpec
from tests.support.learners import fingerprint, ragged
from tests.support.transitions import a_transition


class _Bandit:
    """A learner, and actions known by their ids."""

    def __init__(self, state_dim: int = 0, feature_dim: int = 0, **config: Any) -> None:
        representation = PositionConfig()
        self._representation = representation.build(feature_dim)
        self._spec = ProblemSpec(
            state_dim, self._representation.dim, 10, embedding=representation.embedding()
        )
        settings = DisjointLinearConfig(**config)
        self.policy: DisjointLinearPolicy = settings.build_policy(self._spec)
        self.learner = DisjointLinearLearner(self.policy, settings.forgetting)

    def actions(self, *ids: str, features: list[list[float]] | None = None) -> ActionSet:
        plain = np.array([[]] * len(ids) if features is None else features, np.float32)
        return ActionSet(ids, self._representation.encode(ids, plain))

    def learn(self, action_id: str, reward: float, state: tuple[float, ...] = ()) -> None:
        transition = a_transition(
            state=np.array(state, np.float32),
            actions=self.actions(action_id),
            action=0,
            reward=reward,
        )
        self.learner.observe(collate([transition], self._spec, torch.device("cpu")))

    def score(self, *ids: str, state: tuple[float, ...] = ()) -> ActionScores:
        scorer = self.policy.scorer()
        prepared = scorer.prepare(self.actions(*ids).features)
        return scorer.score(np.array(state, np.float32), prepared)

    def variances(self, *ids: str, state: tuple[float, ...] = ()) -> list[float]:
        spread = self.score(*ids, state=state).spread
        assert spread is not None
        return list((spread**2).sum(1).tolist())


def test_one_observation_counts_once_and_for_its_own_arm_only() -> None:
    bandit = _Bandit()

    bandit.learn("a", 3.0)

    # A single weight with precision 1 + 1 and moment 3.
    assert bandit.score("a", "b").value == pytest.approx([1.5, 0.0])
    assert bandit.variances("a", "b") == pytest.approx([0.5, 1.0])


def test_each_arm_has_its_own_answer_to_the_state() -> None:
    bandit = _Bandit(state_dim=1)
    for _ in range(200):
        for sign in (1.0, -1.0):
            bandit.learn("a", sign, state=(sign,))
            bandit.learn("b", -sign, state=(sign,))

    assert bandit.score("a", "b", state=(1.0,)).value == pytest.approx([1, -1], abs=0.01)
    assert bandit.score("a", "b", state=(-1.0,)).value == pytest.approx([-1, 1], abs=0.01)


def test_an_arm_never_seen_is_as_uncertain_as_the_prior_however_much_others_know() -> None:
    bandit = _Bandit(state_dim=2, ridge=0.25)
    for _ in range(50):
        bandit.learn("old", 1.0, state=(1.0, 2.0))

    # |(1, 1, 2)|^2 / ridge = 6 / 0.25 for whoever is new.
    old, new = bandit.variances("old", "new", state=(1.0, 2.0))
    assert new == pytest.approx(24.0)
    assert old < 0.03


def test_no_id_is_beyond_any_maximum() -> None:
    bandit = _Bandit(max_arms=2)
    for number in range(100):
        bandit.learn(f"article-{number}", 1.0)

    assert bandit.score("article-99", "article-0", "article-100").value == pytest.approx(
        [0.5, 0, 0]
    )


def test_the_arm_that_was_not_learned_about_for_longest_is_forgotten_first() -> None:
    bandit = _Bandit(max_arms=2)
    for action_id in ("a", "b", "a", "c"):
        bandit.learn(action_id, 3.0)

    # b made room for c. a was seen twice: moment 6, precision 3.
    assert bandit.score("a", "b", "c").value == pytest.approx([2.0, 0.0, 1.5])
    assert bandit.variances("b") == pytest.approx([1.0])


def test_an_arm_that_comes_back_starts_anew() -> None:
    bandit = _Bandit(max_arms=1)
    for action_id, reward in (("a", 9.0), ("b", 9.0), ("a", 3.0)):
        bandit.learn(action_id, reward)

    assert bandit.score("a").value == pytest.approx([1.5])


def test_forgetting_follows_a_reward_that_changed() -> None:
    forgetful, faithful = _Bandit(forgetting=0.9), _Bandit()

    for bandit in (forgetful, faithful):
        for reward in [0.0] * 200 + [1.0] * 50:
            bandit.learn("a", reward)

    # 0.9^50 = 0.5 % of the old evidence is left, against 80 % of all observations.
    assert forgetful.score("a").value[0] > 0.95
    assert faithful.score("a").value[0] < 0.25


def test_replayed_batches_do_not_count_again() -> None:
    bandit = _Bandit()
    bandit.learn("a", 3.0)
    before = fingerprint(bandit.policy.state_dict())
    transition = a_transition(state=np.zeros(0, np.float32), actions=bandit.actions("a"), action=0)
    batch = collate([transition], ProblemSpec(0, 1, 10), torch.device("cpu"))

    assert bandit.learner.update(batch).metrics == {}
    assert fingerprint(bandit.policy.state_dict()) == before


def test_different_arms_are_independent_and_actions_of_one_arm_are_not() -> None:
    bandit = _Bandit()
    bandit.learn("a", 1.0)
    scorer = bandit.policy.scorer()
    twice = scorer.prepare(bandit.actions("a", "b", "a").features)

    spread = scorer.score(np.zeros(0, np.float32), twice).spread

    assert spread is not None
    expected = np.array([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]])
    np.testing.assert_allclose(spread @ spread.T, expected, atol=1e-6)


def test_the_spread_of_arms_that_all_differ_has_one_column_each() -> None:
    spread = _Bandit(state_dim=30).score("a", "b", "c", state=(1.0,) * 30).spread

    assert spread is not None
    np.testing.assert_allclose(spread, np.eye(3) * 31**0.5, rtol=1e-6)


def test_features_of_an_action_are_regressed_on_as_well() -> None:
    bandit = _Bandit(feature_dim=1)
    scorer = bandit.policy.scorer()
    actions = bandit.actions("a", "b", features=[[2.0], [0.0]])

    spread = scorer.score(np.zeros(0, np.float32), scorer.prepare(actions.features)).spread

    # |(1, 2)|^2 and |(1, 0)|^2.
    assert spread is not None
    np.testing.assert_allclose((spread**2).sum(1), [5.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("learned", [0, 1, 7])
def test_the_numpy_form_agrees_with_torch(learned: int) -> None:
    bandit = _Bandit(state_dim=2, max_arms=5)
    for number in range(learned):
        bandit.learn(str(number), float(number), state=(1.0, float(number)))
    ids, state = [str(number) for number in range(9)], (0.5, -1.0)

    expected = bandit.policy.values(torch.tensor([state]), ragged([bandit.actions(*ids)]))

    np.testing.assert_allclose(bandit.score(*ids, state=state).value, expected, atol=1e-5)


def test_a_position_is_the_hash_of_the_id() -> None:
    encoded = PositionConfig().build(1).encode(("a", "b"), np.array([[3.0], [4.0]], np.float32))

    assert encoded.tolist() == [[key_of("a") % 2**24, 3], [key_of("b") % 2**24, 4]]
