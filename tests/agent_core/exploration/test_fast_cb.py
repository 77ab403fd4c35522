"""FastCB's schedule and its rule, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from agent_core.exploration.fast_cb import FastCbConfig
from agent_core.exploration.square_cb import SquareCbConfig
from agent_core.functional.choice import fast_cb
from agent_core.types import ActionScores, Doubles
from tests.support.strategies import values


def test_gaps_weigh_the_more_the_smaller_the_best_loss_is() -> None:
    probabilities = fast_cb(np.array([0.4, 0.8, 0.6]), scale=10.0)

    # Losses 0.6, 0.2, 0.4. Gap 0.4: 0.2 / (3 * 0.2 + 10 * 0.4) = 0.2 / 4.6.
    # Gap 0.2: 0.2 / (0.6 + 2) = 0.2 / 2.6. The best has the rest.
    assert probabilities == pytest.approx([0.2 / 4.6, 1 - 0.2 / 4.6 - 0.2 / 2.6, 0.2 / 2.6])


def test_where_the_best_action_always_fails_it_is_square_cb() -> None:
    value = np.array([0.0, -1.0, 0.0])

    # All losses are 1 once -1 counts as 0: three tied actions.
    assert fast_cb(value, 5.0) == pytest.approx([1 / 3] * 3)


def test_nothing_is_spent_on_others_where_the_best_action_is_perfect() -> None:
    assert fast_cb(np.array([0.9, 1.0, 1.5]), 10.0).tolist() == [0, 0.5, 0.5]


@given(value=values())
def test_it_is_a_distribution_that_prefers_better_actions(value: Doubles) -> None:
    probabilities = fast_cb(value, 20.0)

    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (probabilities >= 0.0).all()
    assert (np.diff(probabilities[np.argsort(value)]) >= -1e-12).all()


def test_it_grows_greedier_with_the_square_root_of_experience() -> None:
    module = FastCbConfig(scale=2).build()
    scores = ActionScores(np.array([0.5, 0.0]))

    new, old = (module.probabilities(scores, experience=n, seed=0)[1] for n in (0, 100))

    # Losses 0.5 and 1: 0.5 / (1 + 2 * 0.5) = 1/4, then 0.5 / (1 + 20 * 0.5) = 1/22.
    assert (new, old) == (pytest.approx(1 / 4), pytest.approx(1 / 22))


def test_rewards_of_another_range_are_shares_of_it() -> None:
    scores = ActionScores(np.array([-8.0, -2.0]))

    config = FastCbConfig(scale=2, reward_range=(-10, 10))
    wide = config.build().probabilities(scores, experience=0, seed=0)

    # Losses (10 + 8) / 20 = 0.9 and 0.6: 0.6 / (2 * 0.6 + 2 * 0.3) = 1/3.
    assert wide == pytest.approx([1 / 3, 2 / 3])


def test_with_a_small_loss_it_explores_less_than_square_cb() -> None:
    scores = ActionScores(np.array([0.98, 0.5, 0.4]))

    def spent(config: FastCbConfig | SquareCbConfig) -> float:
        return 1 - float(config.build().probabilities(scores, experience=100, seed=0)[0])

    assert spent(FastCbConfig()) < spent(SquareCbConfig()) / 10
