"""Batches are cut into parts of equal size: every part holds its own rows, and its own sets whole."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.training.collate import collate
from agent_core.types import ProblemSpec, RaggedActions, TransitionBatch
from tests.support.learners import BOX_SPEC, SPEC, made_up, sets_of


def test_lengths_and_rows_are_those_of_the_sets() -> None:
    sets = sets_of(2, 0, 3)

    assert sets.count == 3
    assert sets.lengths().tolist() == [2, 0, 3]
    assert sets.segments().tolist() == [0, 0, 2, 2, 2]


def test_each_part_holds_its_own_sets_counted_from_its_own_first_action() -> None:
    first, second = sets_of(2, 0, 3, 1).split(2)

    assert first.features.flatten().tolist() == [0.0, 1.0]
    assert first.offsets.tolist() == [0, 2, 2]
    assert second.features.flatten().tolist() == [2.0, 3.0, 4.0, 5.0]
    assert second.offsets.tolist() == [0, 3, 4]


@pytest.mark.parametrize("width", [0, 1, 3])
def test_parts_of_a_box_are_boxes_and_the_same_as_those_of_ragged_sets(width: int) -> None:
    ragged = sets_of(*[width] * 6)

    parts = zip(ragged.split(3), replace(ragged, width=width).split(3), strict=True)

    for one, boxed in parts:
        assert (one.width, boxed.width) == (None, width)
        assert torch.equal(boxed.features, one.features)
        assert torch.equal(boxed.offsets, one.offsets)


@given(
    sizes=st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=1, max_size=5),
)
def test_parts_one_after_the_other_are_the_whole(sizes: list[list[int]]) -> None:
    whole = sets_of(*[size for pair in sizes for size in pair])

    parts = whole.split(len(sizes))

    assert torch.equal(torch.cat([part.features for part in parts]), whole.features)
    assert torch.equal(torch.cat([part.lengths() for part in parts]), whole.lengths())
    assert all(part.offsets[0] == 0 for part in parts)


def test_a_batch_splits_into_the_batches_that_its_rows_alone_would_make() -> None:
    transitions, cpu = made_up(12), torch.device("cpu")

    parts = collate(transitions, SPEC, cpu).split(3)

    for number, part in enumerate(parts):
        alone = collate(transitions[4 * number : 4 * number + 4], SPEC, cpu)
        _assert_same(part, replace(alone, row=part.row))


@pytest.mark.parametrize("spec", [SPEC, BOX_SPEC], ids=["sets", "box"])
def test_what_was_taken_is_the_same_in_a_part_as_in_the_whole(spec: ProblemSpec) -> None:
    batch = collate(made_up(12, spec=spec), spec, torch.device("cpu"))

    chosen = [part.chosen_features() for part in batch.split(4)]

    assert torch.equal(torch.cat(chosen), batch.chosen_features())


def _assert_same(one: TransitionBatch, other: TransitionBatch) -> None:
    for field in fields(TransitionBatch):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, RaggedActions):
            assert torch.equal(mine.features, its.features)
            assert torch.equal(mine.offsets, its.offsets)
        else:
            assert torch.equal(mine, its), field.name
