"""Batches as flat lists of tensors, and what a program is made for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agent_core.replay.fifo import FifoConfig
from agent_core.training.collate import block_of, collate
from agent_core.training.engine.batches import form_of, is_ragged, rebuilt, tensors_of
from agent_core.types import ProblemSpec, TransitionBatch
from tests.support.learners import BOX_SPEC, SPEC, made_up


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
    assert is_ragged(ragged)
    assert not is_ragged(batch)


@pytest.mark.parametrize("spec", [SPEC, BOX_SPEC])
def test_without_anything_to_do_next_a_batch_is_not_ragged(spec: ProblemSpec) -> None:
    replay = FifoConfig(capacity=8).build(spec, torch.device("cpu"))
    (example,) = made_up(1, spec=spec)
    bandit = replace(example, next_state=None, next_actions=None, next_action=None, terminated=True)
    replay.extend(block_of([bandit] * 4, spec))

    batch = replay.sample(8, torch.Generator())

    assert (batch.next_actions.width, is_ragged(batch)) == (0, False)
