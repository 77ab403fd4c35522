"""The table that replays share: what it takes, what it forgets, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent_core.errors import SnapshotError
from agent_core.replay.packed_rows import PackedRows
from agent_core.types import ActionSet, ProblemSpec, Transition
from tests.support.learners import SPEC, action_set, fingerprint, made_up
from tests.support.transitions import a_transition

_WIDE = ProblemSpec(state_dim=16, action_dim=16, max_actions=100)
_CPU = torch.device("cpu")


def _step(number: int, actions: ActionSet) -> Transition:
    state = np.full(16, number, np.float32)
    return a_transition(
        state=state, next_state=state, actions=actions, next_actions=actions, terminated=False
    )


def _rows(
    capacity: int, spec: ProblemSpec = SPEC, capacity_bytes: int | None = None, notes: int = 0
) -> PackedRows:
    return PackedRows(spec, _CPU, capacity=capacity, capacity_bytes=capacity_bytes, notes=notes)


def test_a_transition_with_a_hundred_shared_actions_costs_at_most_400_bytes() -> None:
    rows = _rows(20_000, _WIDE)
    actions = action_set(np.random.default_rng(0), 100, dim=16)

    for number in range(20_000):
        rows.append(_step(number, actions))

    # Two states of 64 bytes, four numbers and five links are 184; copies of the sets would be 12,800.
    assert rows.size_bytes / len(rows) <= 400


def test_an_idle_policy_costs_little_whatever_its_capacity() -> None:
    assert _rows(10_000_000, _WIDE).size_bytes < 300_000


def test_sets_of_forgotten_transitions_are_forgotten() -> None:
    rows = _rows(8)

    for transition in made_up(500):
        rows.append(transition)

    assert rows.distinct_sets <= 16
    assert rows.size_bytes < 100_000


def test_content_is_counted_to_the_byte() -> None:
    rows = _rows(8, _WIDE)
    actions = action_set(np.random.default_rng(0), 100, dim=16)

    for number in range(3):
        rows.append(_step(number, actions))

    # A row is 36 float32 and 5 int64; the one set is 100 rows of 16 float32, its place and its key.
    assert rows.content_bytes == 3 * (36 * 4 + 5 * 8) + 100 * 16 * 4 + 24 + 100


def test_the_oldest_are_forgotten_until_the_rest_fits() -> None:
    rows = _rows(1000, _WIDE, capacity_bytes=20_000)
    generator = np.random.default_rng(0)

    for number in range(20):
        rows.append(_step(number, action_set(generator, 10, dim=16)))

    # With ten actions of its own each takes 184 + 10 * 64 + 124 = 948 bytes: 21 fit, with large sets fewer.
    assert (rows.first, len(rows)) == (0, 20)
    rows.append(_step(20, action_set(generator, 100, dim=16)))
    # 6,708 more: 14 of the small ones stay, 14 * 948 + 6,708 = 19,980.
    assert (rows.first, len(rows)) == (6, 15)
    assert rows.content_bytes == 19_980


def test_the_newest_is_kept_even_if_it_alone_takes_too_much() -> None:
    rows = _rows(1000, _WIDE, capacity_bytes=100)

    for number in range(3):
        rows.append(_step(number, action_set(np.random.default_rng(0), 2, dim=16)))

    assert (rows.first, rows.end) == (2, 3)


def test_tables_stay_within_a_small_multiple_of_the_limit() -> None:
    limit = 1_000_000
    rows = _rows(1_000_000, _WIDE, capacity_bytes=limit)
    generator = np.random.default_rng(0)

    for number in range(6000):
        rows.append(_step(number, action_set(generator, 1 if number < 4000 else 50, dim=16)))

    assert rows.content_bytes <= limit
    # Tables double, and an arena has holes until it is packed.
    assert rows.size_bytes <= 4 * limit


def test_a_copy_differs_in_what_was_asked_for_and_shares_its_action_sets() -> None:
    rows = _rows(8, notes=1)
    original = made_up(1)[0]
    number = rows.append(original, 5)
    other = np.full(3, 7, np.float32)

    copy = rows.append_copy(
        number, 6, state=other, next_state=-other, reward=9.0, bootstraps=original.terminated
    )

    batch = rows.gather(torch.tensor([number, copy]))
    np.testing.assert_array_equal(batch.state, [original.state, other])
    np.testing.assert_array_equal(batch.next_state, [original.next_state, -other])
    assert batch.reward.tolist() == [np.float32(original.reward), 9.0]
    assert batch.bootstraps.tolist() == [not original.terminated, original.terminated]
    assert batch.cost[1] == batch.cost[0] == np.float32(original.cost)
    assert rows.note(torch.tensor([number, copy]), 0).tolist() == [5, 6]
    assert rows.distinct_sets == 2


def test_numbers_are_never_given_twice_and_survive_growth_and_restoring() -> None:
    rows, restored = _rows(1500, notes=1), _rows(1500, notes=1)
    for number, transition in enumerate(made_up(2000)):
        assert rows.append(transition, 10 * number) == number

    restored.load_training_state(rows.training_state())

    assert (restored.first, restored.end) == (rows.first, rows.end) == (500, 2000)
    assert restored.note(torch.tensor([500, 1999]), 0).tolist() == [5000, 19990]
    assert fingerprint(restored.training_state()) == fingerprint(rows.training_state())


def test_a_replay_saved_with_another_capacity_is_refused() -> None:
    rows = _rows(8)

    with pytest.raises(SnapshotError, match=r"schema: .*capacity 8, this one has 9"):
        _rows(9).load_training_state(rows.training_state())


def test_a_restored_replay_under_a_smaller_byte_limit_forgets_with_the_next_transition() -> None:
    rows, tighter = _rows(100), _rows(100, capacity_bytes=2000)
    for transition in made_up(50):
        rows.append(transition)

    tighter.load_training_state(rows.training_state())
    tighter.append(made_up(1)[0])

    assert tighter.content_bytes <= 2000
    assert tighter.end == 51
