"""Prioritized replay: probabilities and weights by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agent_core.replay.prioritized import (
    PrioritizedConfig,
    PrioritizedReplay,
    importance_weights,
    priorities,
)
from agent_core.training.collate import block_of
from agent_core.types import TransitionBatch
from tests.support.learners import SPEC, fingerprint, made_up

_CPU = torch.device("cpu")


def _replay(count: int, **options: Any) -> PrioritizedReplay:
    replay = PrioritizedConfig(**{"capacity": 4, **options}).build(SPEC, _CPU)
    replay.extend(block_of(made_up(count), SPEC))
    return replay


def _all(replay: PrioritizedReplay) -> TransitionBatch:
    (batch,) = replay.batches(10_000)
    return batch


def _shares(replay: PrioritizedReplay, draws: int = 1000) -> list[float]:
    """How often each is drawn, oldest first. Strata keep it within 1 / draws of its probability."""
    drawn = replay.sample(draws, torch.Generator().manual_seed(0)).row - replay.rows.first
    return (torch.bincount(drawn, minlength=len(replay)) / draws).tolist()


def test_priorities_are_powers_of_errors() -> None:
    # (3 + 1)^0.5 = 2, (0 + 1)^0.5 = 1, (8 + 1)^0.5 = 3
    assert priorities(np.array([3.0, 0.0, 8.0]), 0.5, 1.0).tolist() == [2.0, 1.0, 3.0]


def test_weights_make_up_for_probabilities_in_full_with_beta_one() -> None:
    # (2 * 0.75)^-1 = 2/3, (2 * 0.25)^-1 = 2; over the largest: 1/3 and 1.
    weights = importance_weights(np.array([0.75, 0.25]), 2, 1.0)
    np.testing.assert_allclose(weights, [1 / 3, 1.0])
    # (4 * 1/4)^-0.5 = 1, (4 * 1/16)^-0.5 = 2; over the largest: 1/2 and 1.
    weights = importance_weights(np.array([0.25, 0.0625]), 4, 0.5)
    np.testing.assert_allclose(weights, [0.5, 1.0])


def test_draws_are_in_proportion_to_priorities() -> None:
    replay = _replay(4, alpha=1.0, smallest_error=1.0)

    replay.feed_back(_all(replay), torch.tensor([0.0, 1.0, 2.0, 3.0]))

    # Priorities 1, 2, 3, 4 of 10.
    np.testing.assert_allclose(_shares(replay), [0.1, 0.2, 0.3, 0.4], atol=2e-3)


def test_without_alpha_draws_are_uniform() -> None:
    replay = _replay(4, alpha=0.0)

    replay.feed_back(_all(replay), torch.tensor([0.0, 1.0, 2.0, 30.0]))

    np.testing.assert_allclose(_shares(replay), [0.25] * 4, atol=2e-3)


def test_a_batch_weighs_what_is_drawn_often_less() -> None:
    replay = _replay(2, alpha=1.0, beta=1.0, smallest_error=1.0)
    replay.feed_back(_all(replay), torch.tensor([2.0, 0.0]))

    batch = replay.sample(8, torch.Generator().manual_seed(0))

    # Probabilities 3/4 and 1/4: weights 1/3 and 1.
    expected = torch.where(batch.row == 0, 1 / 3, 1.0)
    torch.testing.assert_close(batch.weight, expected)


def test_beta_rises_to_one_and_stays() -> None:
    replay = _replay(2, alpha=1.0, beta=0.5, smallest_error=1.0, anneal_updates=2)
    replay.feed_back(_all(replay), torch.tensor([3.0, 0.0]))
    generator = torch.Generator().manual_seed(0)

    smallest = [float(replay.sample(10, generator).weight.min()) for _ in range(4)]

    # Probabilities 4/5 and 1/5, so the smaller weight is 4^-beta with beta 1/2, 3/4, 1, 1.
    np.testing.assert_allclose(smallest, [0.5, 4**-0.75, 0.25, 0.25], rtol=1e-6)


def test_a_new_transition_has_the_largest_priority_so_far() -> None:
    replay = _replay(3, alpha=1.0, smallest_error=1.0)
    replay.feed_back(_all(replay), torch.tensor([4.0, 0.0, 0.0]))
    replay.feed_back(_all(replay), torch.tensor([0.0, 0.0, 0.0]))

    replay.extend(block_of(made_up(4)[3:], SPEC))

    # Priorities 1, 1, 1 and 5, the largest that there ever was.
    np.testing.assert_allclose(_shares(replay), [1 / 8, 1 / 8, 1 / 8, 5 / 8], atol=2e-3)


def test_what_was_forgotten_is_not_drawn_and_its_error_is_ignored() -> None:
    replay = _replay(4, alpha=1.0, smallest_error=1.0)
    before = _all(replay)
    replay.extend(block_of(made_up(2, seed=1), SPEC))

    replay.feed_back(before, torch.tensor([99.0, 99.0, 0.0, 2.0]))

    # 0 and 1 are gone. 2 and 3 have priorities 1 and 3, the new ones 1 each.
    assert replay.rows.first == 2
    np.testing.assert_allclose(_shares(replay), [1 / 6, 3 / 6, 1 / 6, 1 / 6], atol=2e-3)


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_an_error_that_is_not_finite_changes_nothing(error: float) -> None:
    replay = _replay(4)
    before = fingerprint(replay.training_state())

    replay.feed_back(_all(replay), torch.full((4,), error))

    assert fingerprint(replay.training_state()) == before


def test_the_tree_grows_with_what_is_remembered() -> None:
    replay = _replay(3000, capacity=2500, alpha=1.0, smallest_error=1.0)
    errors = torch.zeros(2500)
    errors[1234] = 2499.0

    replay.feed_back(_all(replay), errors)

    # One priority of 2500, 2499 of 1.
    assert abs(_shares(replay)[1234] - 2500 / 4999) < 2e-3
    assert replay.size_bytes >= replay.rows.size_bytes + 16 * 2500


def test_an_idle_policy_costs_little_whatever_its_capacity() -> None:
    assert _replay(0, capacity=10_000_000).size_bytes < 300_000
