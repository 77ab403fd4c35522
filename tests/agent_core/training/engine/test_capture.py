"""The recorded form, with a stand-in for the GPU's recorder: it calls the function again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.training.engine.batches import in_room
from agent_core.training.engine.capture import captured
from agent_core.training.engine.program import Program, owner_of, state_of, traced, twin_of
from tests.support.engine import ROWS, batch_of, small, work_of
from tests.support.learners import one_by_one


def _moved(weight: torch.Tensor, step: torch.Tensor) -> list[torch.Tensor]:
    """Adds `step` to `weight` in place; returns the sum of what came out."""
    weight.add_(step)
    return [weight.sum()]


def _record(
    function: Callable[[], Sequence[torch.Tensor]],
) -> tuple[list[torch.Tensor], Callable[[], None]]:
    results = [torch.zeros_like(result) for result in function()]

    def replay() -> None:
        torch._foreach_copy_(results, list(function()))

    return results, replay


def test_a_recording_changes_what_it_is_given_and_nothing_else() -> None:
    example = [torch.tensor([1.0, 2.0]), torch.tensor([10.0, 10.0])]
    recorded = captured(_moved, example, changed=1, record=_record)
    weight, step = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 3.0])

    (first,) = recorded(weight, step)
    (second,) = recorded(weight, step)

    # 0 + 1 and 0 + 3; then once more.
    assert (first.item(), second.item()) == (4.0, 8.0)
    assert weight.tolist() == [2.0, 6.0]
    assert step.tolist() == [1.0, 3.0]
    assert example[0].tolist() == [1.0, 2.0]


def test_a_recording_is_played_for_sets_of_other_sizes() -> None:
    plain, room = work_of(small(DqnConfig), 2, is_ragged=True), 5 * ROWS
    step = twin_of(plain.step)
    graph, names, example = traced(twin_of(step), in_room(plain.batches, 2, room), 2)
    recording = captured(graph, example, len(state_of(owner_of(step))), _record)
    program = Program("recorded", recording, names, counted=2)

    for seed in range(3):
        batches = batch_of(DqnConfig(), 2, is_ragged=True, seed=seed)
        found = program.run(owner_of(step), in_room(batches, 2, room))
        wanted = one_by_one(plain.step, batches, 2)
        torch.testing.assert_close([u.metrics for u in found], [u.metrics for u in wanted])

    torch.testing.assert_close(state_of(owner_of(step)), state_of(owner_of(plain.step)))
