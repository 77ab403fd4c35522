"""Parts of blocks, and blocks of parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.blocks import ends, joined, part, spans, taken, those, width_of
from agent_core.training.collate import block_of
from agent_core.types import FACTS, TransitionBlock
from tests.support.learners import SPEC, made_up

_STEPS = made_up(9)


def _content(block: TransitionBlock) -> list[object]:
    """Everything, with the action sets on their own."""
    sets = [block.features[start:stop].tolist() for start, stop in pairwise(block.offsets.tolist())]
    facts = [block.facts[name].tolist() for name in FACTS.names or ()]
    return [block.state.tolist(), block.next_state.tolist(), sets, facts]


@given(start=st.integers(0, 9), size=st.integers(0, 9))
def test_a_part_is_the_block_of_these_transitions(start: int, size: int) -> None:
    found = part(block_of(_STEPS, SPEC), start, start + size)

    assert _content(found) == _content(block_of(_STEPS[start : start + size], SPEC))


@given(positions=st.lists(st.integers(0, 4), max_size=12))
def test_transitions_are_taken_in_any_order_and_as_often_as_wanted(positions: list[int]) -> None:
    some = part(block_of(_STEPS, SPEC), 2, 7)

    found = taken(some, np.array(positions, np.int64))

    assert _content(found) == _content(block_of([_STEPS[2 + at] for at in positions], SPEC))


@given(cuts=st.sets(st.integers(0, 9)))
def test_parts_that_are_joined_are_the_whole(cuts: set[int]) -> None:
    block, bounds = block_of(_STEPS, SPEC), [0, *sorted(cuts), 9]

    found = joined([part(block, a, b) for a, b in pairwise(bounds)])

    assert _content(found) == _content(block)


def test_those_are_the_block_itself_where_none_is_left_out() -> None:
    block = block_of(_STEPS, SPEC)
    is_first = np.arange(9) < 1

    assert those(block, np.ones(9, bool)) is block
    assert _content(those(block, is_first)) == _content(block_of(_STEPS[:1], SPEC))


def test_spans_are_numbers_from_each_start_on() -> None:
    assert spans(np.array([7, 0, 3]), np.array([2, 0, 3])).tolist() == [7, 8, 3, 4, 5]
    assert ends(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]


@pytest.mark.parametrize(("sizes", "width"), [([3, 3], 3), ([3, 2], None), ([0, 0], 0), ([], 0)])
def test_a_width_is_what_all_sizes_are_if_it_is_anything(
    sizes: list[int], width: int | None
) -> None:
    assert width_of(np.array(sizes, np.int64)) == width
