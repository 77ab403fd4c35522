"""Episodes: by hand, over every possible course of a small task, and against another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.evaluation.logged import LoggedDecisions
from agent_core.evaluation.sequential import (
    StepWeights,
    episode_values,
    running_products,
    shifted,
    steps,
    whole_products,
)
from agent_core.types import Doubles, Integers
from tests.agent_core.evaluation import oracle

# Two episodes, of three steps and of one.
_OFFSETS = np.array([0, 3, 4])
_RATIO = np.array([2.0, 0.5, 4.0, 3.0])


def test_every_step_knows_its_place() -> None:
    assert steps(_OFFSETS).tolist() == [0, 1, 2, 0]


def test_a_step_counts_by_all_that_led_to_it() -> None:
    assert running_products(_RATIO, _OFFSETS).tolist() == [2, 1, 4, 3]
    assert whole_products(_RATIO, _OFFSETS).tolist() == [4, 4, 4, 3]
    assert shifted(running_products(_RATIO, _OFFSETS), _OFFSETS).tolist() == [1, 2, 1, 1]


def test_what_the_target_would_not_do_ends_the_count() -> None:
    assert running_products(np.array([2.0, 0, 4, 3]), _OFFSETS).tolist() == [2, 0, 0, 3]


def test_products_stay_within_what_can_be_squared() -> None:
    # 2^2000 is more than a double holds.
    products = running_products(np.full(2000, 2.0), np.array([0, 2000]))

    assert products[:3].tolist() == [2.0, 4.0, 8.0]
    assert products[-1] == 1e100


def test_what_was_given_stays_as_it_was() -> None:
    ratio = _RATIO.copy()

    running_products(ratio, _OFFSETS)
    shifted(ratio, _OFFSETS)

    assert ratio.tolist() == _RATIO.tolist()


def test_an_episode_that_has_ended_keeps_its_weight() -> None:
    # 2 + 3, then 1 and 4 beside the 3 of the episode that is over.
    assert StepWeights.of(running_products(_RATIO, _OFFSETS), _OFFSETS).total.tolist() == [5, 4, 7]


def test_a_weight_is_normalized_by_the_mean_of_its_step() -> None:
    weight = running_products(_RATIO, _OFFSETS)

    normalized = StepWeights.of(weight, _OFFSETS).normalized(weight, _OFFSETS)

    # 2, 1 and 4 over 2.5, 2 and 3.5; 3 over 2.5.
    assert normalized == pytest.approx([0.8, 0.5, 8 / 7, 1.2])


def test_where_nobody_has_any_weight_there_is_none() -> None:
    weight = np.array([2.0, 0, 0, 0])

    assert StepWeights.of(weight, _OFFSETS).normalized(weight, _OFFSETS).tolist() == [2, 0, 0, 0]


def test_shards_of_episodes_add_up_to_the_whole() -> None:
    weight = running_products(_RATIO, _OFFSETS)

    longer, shorter = (
        StepWeights.of(weight[:3], np.array([0, 3])),
        StepWeights.of(weight[3:], np.array([0, 1])),
    )

    for merged in (longer.merged(shorter), shorter.merged(longer)):
        assert merged.total.tolist() == StepWeights.of(weight, _OFFSETS).total.tolist()
        assert merged.episodes == 2


def test_rewards_are_weighted_step_by_step() -> None:
    # Discount 1/2: 2 * 1 + 1 * 2/2 + 4 * 4/4 = 7, and 3 * 8.
    reward, nothing = np.array([1.0, 2, 4, 8]), np.zeros(4)

    values = episode_values(
        reward, running_products(_RATIO, _OFFSETS), nothing, nothing, _OFFSETS, discount=0.5
    )

    assert values.tolist() == [7.0, 24.0]


def test_with_weights_of_zero_the_model_of_the_first_step_decides() -> None:
    expected = np.array([5.0, 100, 100, 6])

    values = episode_values(
        np.ones(4), np.zeros(4), np.full(4, 9.0), expected, _OFFSETS, discount=0.5
    )

    assert values.tolist() == [5.0, 6.0]


# All that can happen: first action 0, then 0 or 1; or first action 1, which ends the episode.
_ALL_OFFSETS = np.array([0, 2, 4, 5])
_ALL_ACTIONS = np.array([0, 0, 0, 1, 1])
_STATES = np.array([0, 1, 0, 1, 0])
_policies = st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)).map(
    lambda second: np.array([[1 - share, share] for share in second])
)
_numbers = st.lists(st.floats(-5, 5), min_size=4, max_size=4).map(np.array)


@given(_policies, _policies, _numbers, _numbers)
def test_unweighted_estimates_are_right_on_average(
    behaviour: Doubles, target: Doubles, model: Doubles, rewards: Doubles
) -> None:
    """Whatever the model; `behaviour`, `target` and `model` have a row for each state."""
    reward, values = rewards[[0, 1, 0, 2, 3]], model.reshape(2, 2)
    taken, expected = values[_STATES, _ALL_ACTIONS], (target * values).sum(1)[_STATES]
    of_log, of_target = (policy[_STATES, _ALL_ACTIONS] for policy in (behaviour, target))
    nothing, ones = np.zeros(5), np.ones(5)

    running = running_products(of_target / of_log, _ALL_OFFSETS)
    whole = whole_products(of_target / of_log, _ALL_OFFSETS)

    truth = _mean(of_target, episode_values(reward, ones, nothing, nothing, _ALL_OFFSETS, 0.5))
    for weight, q, v in (
        (whole, nothing, nothing),
        (running, nothing, nothing),
        (running, taken, expected),
    ):
        estimates = episode_values(reward, weight, q, v, _ALL_OFFSETS, 0.5)
        assert _mean(of_log, estimates) == pytest.approx(truth, abs=1e-9)


def _mean(probability: Doubles, values: Doubles) -> float:
    """Of the episodes' `values` `[3]`; `probability`: `[5]` of each step's action."""
    return float(np.multiply.reduceat(probability, _ALL_OFFSETS[:-1]) @ values)


def _stored() -> tuple[LoggedDecisions, Doubles, Integers]:
    """300 episodes of 6 steps with 4 actions, the model's values `[N]`, and where episodes begin."""
    stored = oracle.arrays("synthetic")
    columns = {
        name: stored[f"episode_{name}"].ravel()
        for name in ("reward", "propensity", "action", "target")
    }
    columns["action"] = columns["action"].astype(np.int64)
    log = LoggedDecisions(**columns, offsets=np.arange(1801) * 4)
    return log, stored["episode_value"].ravel(), np.arange(301) * 6


def test_estimates_are_those_of_the_other_library() -> None:
    log, values, offsets = _stored()
    running, whole = (
        products(log.ratio(), offsets) for products in (running_products, whole_products)
    )
    weighted, weighted_whole = (
        StepWeights.of(weight, offsets).normalized(weight, offsets) for weight in (running, whole)
    )
    nothing = np.zeros(1800)
    without, model = (nothing, nothing), (log.taken(values), log.expected(values))

    ours = {
        name: episode_values(log.reward, weight, *both, offsets, 0.95).mean()
        for name, weight, both in (
            ("dm", nothing, model),
            ("tis", whole, without),
            ("pdis", running, without),
            ("dr", running, model),
            ("sntis", weighted_whole, without),
            ("snpdis", weighted, without),
            ("sndr", weighted, model),
        )
    }

    theirs = oracle.expected()["synthetic"]["scope"]["sequential"]
    assert ours == pytest.approx(theirs, abs=1e-9, rel=0)
