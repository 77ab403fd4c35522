"""Rows of a ragged batch, and tables of known sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.ragged import largest_part, room_for, select_sets, with_room
from agent_core.types import RaggedActions
from tests.support.learners import sets_of


def test_the_chosen_sets_come_whole_and_in_the_order_asked_for() -> None:
    # Sets {0, 1}, {}, {2, 3, 4}.
    actions = RaggedActions(torch.arange(5.0).unsqueeze(1), torch.tensor([0, 2, 2, 5]))

    selected = select_sets(actions, torch.tensor([2, 1, 0, 2]))

    assert selected.offsets.tolist() == [0, 3, 3, 5, 8]
    assert selected.features.flatten().tolist() == [2, 3, 4, 0, 1, 2, 3, 4]


def test_no_rows_give_an_empty_table() -> None:
    actions = RaggedActions(torch.arange(5.0).unsqueeze(1), torch.tensor([0, 2, 5]))

    selected = select_sets(actions, torch.zeros(0, dtype=torch.int64))

    assert selected.offsets.tolist() == [0]
    assert selected.features.shape == (0, 1)


def test_a_table_has_four_sizes_for_each_doubling() -> None:
    sizes = sorted({room_for(rows) for rows in range(41)})

    assert sizes == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40]


@given(st.integers(1, 1_000_000))
def test_a_table_has_room_for_its_actions_and_less_than_a_quarter_too_much(rows: int) -> None:
    assert rows <= room_for(rows) < 1.25 * rows
    assert room_for(room_for(rows)) == room_for(rows)


def test_a_tenth_of_the_room_is_left_over_on_average() -> None:
    waste = [room_for(rows) / rows - 1 for rows in range(1024, 4096)]

    assert sum(waste) / len(waste) == pytest.approx(0.09, abs=0.01)


def test_the_largest_part_is_that_with_most_actions() -> None:
    # Parts of two sets: 2, 3 and 1 actions.
    assert largest_part(sets_of(2, 0, 0, 3, 1, 0), 3) == 3


def test_a_part_has_its_own_actions_and_then_its_last_one_again() -> None:
    # The only feature of an action is its number.
    first, second = with_room(sets_of(2, 0, 3, 1), count=2, room=5).split(2)

    assert first.features.flatten().tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert first.offsets.tolist() == [0, 2, 2]
    assert second.features.flatten().tolist() == [2.0, 3.0, 4.0, 5.0, 5.0]
    assert second.offsets.tolist() == [0, 3, 4]
    assert (first.room, first.width) == (5, None)


def test_an_action_beyond_all_sets_belongs_to_none_and_is_seen_with_the_last() -> None:
    # Sets {0, 1} and {}, then two rows of no set: the batch row 2 does not exist.
    (table,) = with_room(sets_of(2, 0), count=1, room=4).split(1)

    assert table.owners().tolist() == [0, 0, 2, 2]
    assert table.segments().tolist() == [0, 0, 0, 0]


def test_a_part_without_any_action_is_a_table_too() -> None:
    full, empty = with_room(sets_of(2, 1, 0, 0), count=2, room=3).split(2)

    assert full.owners().tolist() == [0, 0, 1]
    assert empty.offsets.tolist() == [0, 0, 0]
    assert empty.owners().tolist() == [2, 2, 2]
    assert empty.segments().max() < 2


def test_more_actions_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="5 actions do not fit in 2 tables of 2 rows"):
        with_room(sets_of(2, 3), count=2, room=2)


@given(
    st.integers(1, 4).flatmap(
        lambda each: st.lists(
            st.lists(st.integers(0, 4), min_size=each, max_size=each), min_size=1, max_size=4
        )
    )
)
def test_parts_in_room_hold_what_parts_without_hold(sizes: list[list[int]]) -> None:
    whole, count = sets_of(*[size for part in sizes for size in part]), len(sizes)
    room = room_for(largest_part(whole, count))

    parts = with_room(whole, count, room).split(count)

    for part, wanted in zip(parts, whole.split(count), strict=True):
        assert part.features.shape == (room, 1)
        assert torch.equal(part.offsets, wanted.offsets)
        assert torch.equal(part.features[: len(wanted.features)], wanted.features)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(0, 3))
def test_actions_are_counted_off_set_by_set(sizes: list[int], missing: int) -> None:
    sets = with_room(sets_of(*sizes), 1, sum(sizes) + missing)

    owners = sets.owners().tolist()

    spans = [owners[start:end] for start, end in pairwise(sets.offsets.tolist())]
    assert spans == [[row] * size for row, size in enumerate(sizes)]
    assert owners[sum(sizes) :] == [len(sizes)] * missing
