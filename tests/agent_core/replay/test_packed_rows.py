"""The table that replays share: what it takes, what it forgets, what it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from agent_core.errors import SnapshotError
from agent_core.replay.packed_rows import PackedRows
from agent_core.training.collate import block_of
from agent_core.types import ActionSet, Box, ProblemSpec, Transition
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
    return PackedRows(spec, capacity=capacity, capacity_bytes=capacity_bytes, notes=notes)


def _store(rows: PackedRows, steps: Iterable[Transition], spec: ProblemSpec = SPEC) -> None:
    rows.extend(block_of(list(steps), spec))


def test_a_transition_with_a_hundred_shared_actions_costs_at_most_400_bytes() -> None:
    rows = _rows(20_000, _WIDE)
    actions = action_set(np.random.default_rng(0), 100, dim=16)

    _store(rows, (_step(number, actions) for number in range(20_000)), _WIDE)

    # Two states of 64 bytes, three numbers and five links are 180; copies of the sets would be 12,800.
    assert rows.size_bytes / len(rows) <= 400


def test_an_idle_policy_costs_little_whatever_its_capacity() -> None:
    assert _rows(10_000_000, _WIDE).size_bytes < 300_000


def test_sets_of_forgotten_transitions_are_forgotten() -> None:
    rows = _rows(8)

    _store(rows, made_up(500))

    assert rows.distinct_sets <= 16
    assert rows.size_bytes < 100_000


def test_content_is_counted_to_the_byte() -> None:
    rows = _rows(8, _WIDE)
    actions = action_set(np.random.default_rng(0), 100, dim=16)

    _store(rows, (_step(number, actions) for number in range(3)), _WIDE)

    # A row is 35 float32 and 5 int64; the one set is 100 rows of 16 float32, its place and its key.
    assert rows.content_bytes == 3 * (35 * 4 + 5 * 8) + 100 * 16 * 4 + 24 + 100


def test_the_oldest_are_forgotten_until_the_rest_fits() -> None:
    rows = _rows(1000, _WIDE, capacity_bytes=20_000)
    generator = np.random.default_rng(0)

    small = (_step(number, action_set(generator, 10, dim=16)) for number in range(20))
    _store(rows, small, _WIDE)

    # With ten actions of its own each takes 180 + 10 * 64 + 124 = 944 bytes: 21 fit, with large sets fewer.
    assert (rows.first, len(rows)) == (0, 20)
    _store(rows, [_step(20, action_set(generator, 100, dim=16))], _WIDE)
    # 180 + 6,400 + 124 = 6,704 more: 14 of the small ones stay, 14 * 944 + 6,704 = 19,920.
    assert (rows.first, len(rows)) == (6, 15)
    assert rows.content_bytes == 19_920


def test_the_newest_is_kept_even_if_it_alone_takes_too_much() -> None:
    rows = _rows(1000, _WIDE, capacity_bytes=100)

    actions = action_set(np.random.default_rng(0), 2, dim=16)
    _store(rows, (_step(number, actions) for number in range(3)), _WIDE)

    assert (rows.first, rows.end) == (2, 3)


def test_tables_stay_within_a_small_multiple_of_the_limit() -> None:
    limit = 1_000_000
    rows = _rows(1_000_000, _WIDE, capacity_bytes=limit)
    generator = np.random.default_rng(0)

    sizes = [1] * 4000 + [50] * 2000
    steps = (_step(n, action_set(generator, size, dim=16)) for n, size in enumerate(sizes))
    _store(rows, steps, _WIDE)

    assert rows.content_bytes <= limit
    # Tables double, and an arena has holes until it is packed.
    assert rows.size_bytes <= 4 * limit


def test_a_copy_differs_in_what_was_asked_for_and_shares_its_action_sets() -> None:
    rows = _rows(8, notes=1)
    original = made_up(1)[0]
    rows.extend(block_of([original], SPEC), np.array([[5]]))
    other = np.full(3, 7, np.float32)

    rows.append_copy(
        0, 6, state=other, next_state=-other, reward=9.0, bootstraps=original.terminated
    )

    batch = rows.gather(torch.tensor([0, 1]))
    np.testing.assert_array_equal(batch.state, [original.state, other])
    np.testing.assert_array_equal(batch.next_state, [original.next_state, -other])
    assert batch.reward.tolist() == [np.float32(original.reward), 9.0]
    assert batch.bootstraps.tolist() == [not original.terminated, original.terminated]
    assert batch.cost[1] == batch.cost[0] == np.float32(original.cost)
    assert rows.note(torch.tensor([0, 1]), 0).tolist() == [5, 6]
    assert rows.distinct_sets == 2


def test_numbers_are_never_given_twice_and_survive_growth_and_restoring() -> None:
    rows, restored = _rows(1500, notes=1), _rows(1500, notes=1)
    rows.extend(block_of(made_up(2000), SPEC), 10 * np.arange(2000)[:, None])

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
    _store(rows, made_up(50))

    tighter.load_training_state(rows.training_state())
    _store(tighter, made_up(1))

    assert tighter.content_bytes <= 2000
    assert tighter.end == 51


_BOX = ProblemSpec(17, 6, 1, box=Box((-1.0,) * 6, (1.0,) * 6))


def test_a_continuous_action_lies_in_the_row() -> None:
    rows, steps = _rows(100, _BOX), made_up(100, spec=_BOX)
    _store(rows, steps, _BOX)

    # Two states of 17, reward, cost, propensity and an action of 6 are 43 float32; the key is one int64.
    assert rows.content_bytes / len(rows) == 43 * 4 + 8
    assert rows.distinct_sets == 0
    batch = rows.gather(torch.tensor([7, 99]))
    for row, t in enumerate((steps[7], steps[99])):
        np.testing.assert_array_equal(batch.chosen_features()[row], t.actions.features[0])
        np.testing.assert_array_equal(batch.next_state[row], t.next_state)
    assert batch.actions.offsets.tolist() == [0, 1, 2]
    assert batch.next_actions.offsets.tolist() == [0, 0, 0]
    assert batch.next_action.tolist() == [-1, -1]


def test_a_batch_of_a_box_is_the_same_after_restoring() -> None:
    rows, restored = _rows(70, _BOX), _rows(70, _BOX)
    _store(rows, made_up(100, spec=_BOX), _BOX)

    restored.load_training_state(rows.training_state())

    first, second = (one.gather(torch.tensor([30, 99])) for one in (rows, restored))
    for name in ("state", "next_state", "reward", "propensity", "bootstraps", "key", "row"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert torch.equal(first.actions.features, second.actions.features)


@pytest.mark.parametrize("propensity", [1.0, 0.25, 1e-45, 1e-300, 1e57])
@pytest.mark.parametrize("terminated", [True, False])
def test_whether_the_next_state_counts_is_kept_beside_any_propensity(
    propensity: float, terminated: bool
) -> None:
    rows, [one] = _rows(1), made_up(1)
    _store(rows, [replace(one, propensity=propensity, terminated=terminated)])

    batch = rows.gather(torch.tensor([0]))

    # Less than float32 can hold is its smallest normal number, which one may divide by.
    assert batch.propensity.item() == pytest.approx(
        min(max(propensity, 2.0**-126), 2.0**128), rel=1e-6
    )
    assert batch.bootstraps.item() == float(not terminated)


def test_a_block_that_is_longer_than_the_capacity_leaves_its_end() -> None:
    rows, steps = _rows(3), made_up(11)

    _store(rows, steps)

    assert (rows.first, rows.end) == (8, 11)
    batch = rows.gather(rows.numbers())
    assert batch.reward.tolist() == [np.float32(t.reward) for t in steps[8:]]
