"""Batches as flat lists of tensors, and what a program is made for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agent_core.replay.fifo import FifoConfig
from agent_core.training.collate import block_of, collate
from agent_core.training.engine.batches import (
    form_of,
    in_room,
    longest_table,
    rebuilt,
    room_of,
    tensors_of,
)
from agent_core.types import ProblemSpec, TransitionBatch
from tests.support.learners import BOX_SPEC, SPEC, made_up, sets_of


def _batch(rows: int, spec: ProblemSpec = SPEC, seed: int = 0) -> TransitionBatch:
    return collate(made_up(rows, seed, spec), spec, torch.device("cpu"))


@pytest.mark.parametrize("spec", [SPEC, BOX_SPEC], ids=["sets", "box"])
def test_a_batch_is_rebuilt_from_its_tensors(spec: ProblemSpec) -> None:
    batch, other = _batch(8, spec), _batch(8, spec, seed=1)

    whole = rebuilt(other, iter(tensors_of(batch)))

    assert all(a is b for a, b in zip(tensors_of(whole), tensors_of(batch), strict=True))
    assert whole.next_actions.features is batch.next_actions.features
    assert whole.actions.width == other.actions.width


def test_all_tensors_of_a_batch_are_found_those_of_its_sets_included() -> None:
    batch = _batch(8)

    found = {id(tensor) for tensor in tensors_of(batch)}

    # Eleven columns, and features and offsets of two tables of sets.
    assert len(found) == 11 + 2 * 2
    assert {id(batch.row), id(batch.actions.offsets), id(batch.next_actions.features)} <= found


def test_the_form_is_the_same_for_other_numbers_and_another_for_other_shapes() -> None:
    batch = _batch(8, BOX_SPEC)

    assert form_of(_batch(8, BOX_SPEC, seed=1)) == form_of(batch)
    assert form_of(_batch(9, BOX_SPEC)) != form_of(batch)
    assert hash(form_of(batch)) == hash(form_of(_batch(8, BOX_SPEC, seed=1)))


def test_sets_of_one_size_and_ragged_ones_are_told_apart() -> None:
    batch = _batch(8, BOX_SPEC)

    ragged = replace(batch, actions=replace(batch.actions, width=None))

    assert form_of(ragged) != form_of(batch)
    assert (longest_table(ragged), room_of(ragged, 1)) == (8, 8)
    assert (longest_table(batch), room_of(batch, 1)) == (0, None)


@pytest.mark.parametrize("spec", [SPEC, BOX_SPEC])
def test_without_anything_to_do_next_a_batch_is_not_ragged(spec: ProblemSpec) -> None:
    replay = FifoConfig(capacity=8).build(spec, torch.device("cpu"))
    (example,) = made_up(1, spec=spec)
    bandit = replace(example, next_state=None, next_actions=None, next_action=None, terminated=True)
    replay.extend(block_of([bandit] * 4, spec))

    batch = replay.sample(8, torch.Generator())

    assert (batch.next_actions.width, room_of(batch, 1)) == (0, None)


def test_sets_of_different_sizes_are_of_one_form_however_many_actions_they_have() -> None:
    one, other = _batch(8), _batch(8, seed=1)

    assert len(one.actions.features) != len(other.actions.features)
    assert form_of(one) == form_of(other)


def test_all_tables_of_all_parts_get_the_room_that_the_largest_needs() -> None:
    batch = _batch(8)
    batch = replace(batch, actions=sets_of(1, 2, 3, 3), next_actions=sets_of(1, 1, 4, 5))

    # 3 and 6 actions now, 2 and 9 next: 10 is the first size that holds 9.
    room = room_of(batch, 2)
    whole = in_room(batch, 2, room)

    assert room == 10
    assert len(whole.actions.features) == len(whole.next_actions.features) == 20
    shapes = {part.features.shape for part in whole.actions.split(2) + whole.next_actions.split(2)}
    assert shapes == {(10, 1)}


def test_a_table_whose_sets_are_of_one_size_stays_as_it_is() -> None:
    batch = _batch(8)
    batch = replace(batch, actions=replace(sets_of(*[3] * 8), width=3))

    whole = in_room(batch, 1, room_of(batch, 1))

    assert whole.actions is batch.actions
    assert whole.next_actions is not batch.next_actions
    assert in_room(whole, 1, None) is whole
