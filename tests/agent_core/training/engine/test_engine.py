"""Which form updates are made in, and when it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._inductor.loop_body import InterpreterShim
from torch.fx import GraphModule

from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.training.engine import engine as engine_module
from agent_core.training.engine.batches import form_of, room_of
from agent_core.training.engine.capture import Function
from agent_core.training.engine.engine import Kind, UpdateEngine
from agent_core.training.engine.program import prepare_compiler
from agent_core.types import TransitionBatch
from tests.support.engine import SlowLearner, as_it_is, batch_of
from tests.support.learners import fingerprint, one_by_one, sets_of

_COUNT = 3


@pytest.fixture(autouse=True)
def _compiler_that_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._inductor, "compile", as_it_is)


@pytest.fixture
def batches() -> TransitionBatch:
    return batch_of(DqnConfig(), _COUNT)


def test_updates_are_plain_until_there_were_enough_of_them(batches: TransitionBatch) -> None:
    engine, learner = UpdateEngine(tune_after_updates=6), SlowLearner()

    for _ in range(2):
        engine.run(learner.update, batches, _COUNT)
    before = engine.settle()
    engine.run(learner.update, batches, _COUNT)

    assert before == {}
    assert len(engine.settle()) == 1
    assert learner.calls == 9


def test_a_compiler_replaces_nothing_in_the_thread_that_makes_updates(
    batches: TransitionBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing: list[threading.Thread] = []
    symbolic_trace = torch.fx.symbolic_trace

    def noted(function: Callable[..., Any]) -> GraphModule:
        tracing.append(threading.current_thread())
        return symbolic_trace(function)

    monkeypatch.setattr(torch.fx, "symbolic_trace", noted)
    monkeypatch.setattr(torch._inductor, "compile", _traces_first)
    for once in (InterpreterShim._dummy_gm, prepare_compiler):
        once.cache_clear()
    engine = UpdateEngine(tune_after_updates=0)

    engine.run(SlowLearner().update, batches, _COUNT)
    (form,) = engine.settle().values()

    assert form.program is not None
    assert tracing == [threading.main_thread()]


def _traces_first(
    graph: GraphModule, example: Sequence[torch.Tensor], options: Mapping[str, Any]
) -> Function:
    """As torch's compiler, which traces a function before its first program."""
    InterpreterShim._dummy_gm()
    return as_it_is(graph, example, options)


def test_they_change_to_what_was_built_in_the_background_and_go_on_alike(
    batches: TransitionBatch,
) -> None:
    engine, learner, plain = UpdateEngine(0), SlowLearner(), SlowLearner()
    plain.load_training_state(learner.training_state())
    engine.run(learner.update, batches, _COUNT)
    (form,) = engine.settle().values()

    updates = engine.run(learner.update, batches, _COUNT)

    assert form.program is not None
    assert (learner.calls, learner.updates) == (_COUNT, 2 * _COUNT)
    one_by_one(plain.update, batches, _COUNT)
    wanted = one_by_one(plain.update, batches, _COUNT)
    torch.testing.assert_close([u.metrics for u in updates], [u.metrics for u in wanted])
    torch.testing.assert_close(learner.training_state(), plain.training_state())


def test_what_is_tried_in_the_background_does_not_touch_the_learner(
    batches: TransitionBatch,
) -> None:
    engine, learner = UpdateEngine(0), SlowLearner()
    engine.run(learner.update, batches, _COUNT)
    before = fingerprint(learner.training_state())

    engine.settle()

    assert fingerprint(learner.training_state()) == before


def test_a_learner_with_another_state_starts_again(batches: TransitionBatch) -> None:
    engine, learner = UpdateEngine(0), SlowLearner()
    engine.run(learner.update, batches, _COUNT)
    engine.settle()

    engine.forget()
    engine.run(learner.update, batches, _COUNT)

    assert learner.calls == 2 * _COUNT


def test_batches_of_another_form_are_another_matter(batches: TransitionBatch) -> None:
    engine, learner, other = UpdateEngine(0), SlowLearner(), batch_of(DqnConfig(), 2 * _COUNT)
    engine.run(learner.update, batches, _COUNT)
    engine.settle()

    engine.run(learner.update, other, _COUNT)

    assert learner.calls == 2 * _COUNT
    assert len(engine.settle()) == 2


def test_blocks_that_end_a_period_elsewhere_are_another_matter(batches: TransitionBatch) -> None:
    engine, learner = UpdateEngine(0), SlowLearner()
    learner.period_updates = 2

    for _ in range(2):
        engine.run(learner.update, batches, _COUNT)
    forms = engine.settle()
    for _ in range(2):
        engine.run(learner.update, batches, _COUNT)

    assert len(forms) == 2
    assert learner.calls == 2 * _COUNT


def test_sets_of_different_sizes_are_made_by_programs_for_tables_of_one_size() -> None:
    engine, learner = UpdateEngine(0), SlowLearner()
    blocks = {seed: batch_of(DqnConfig(), _COUNT, is_ragged=True, seed=seed) for seed in range(6)}
    rooms = {seed: room_of(block, _COUNT) for seed, block in blocks.items()}

    for block in blocks.values():
        engine.run(learner.update, block, _COUNT)
    forms = engine.settle()
    for block in blocks.values():
        engine.run(learner.update, block, _COUNT)

    assert {kind.room for kind in forms} == set(rooms.values())
    assert len(forms) < len(blocks)
    assert all(form.program is not None and form.room == kind.room for kind, form in forms.items())
    assert learner.calls == len(blocks) * _COUNT


def test_programs_are_made_for_a_few_sizes_of_tables_and_the_rest_stays_plain(
    monkeypatch: pytest.MonkeyPatch, batches: TransitionBatch
) -> None:
    monkeypatch.setattr(engine_module, "_MOST_ROOMS", 2)
    engine, learner = UpdateEngine(0), SlowLearner()
    ragged = [replace(batches, actions=sets_of(*[2] * 23, 2 + extra)) for extra in (8, 16, 32)]

    for _ in range(2):
        for block in (*ragged, batches):
            engine.run(learner.update, block, _COUNT)
        engine.settle()

    # Eight sets in a part: 16 actions and those more. The box needs no table.
    assert [kind.room for kind in engine.settle()] == [24, 32, None]
    assert learner.calls == 4 * _COUNT + _COUNT


def test_long_tables_are_compiled_one_by_one(
    monkeypatch: pytest.MonkeyPatch, batches: TransitionBatch
) -> None:
    engine, learner = UpdateEngine(0), SlowLearner()
    ragged = replace(batches, actions=sets_of(*[2] * 23, 3))
    monkeypatch.setattr(engine_module, "_LONG", 16)  # 49 actions in three parts

    engine.run(learner.update, ragged, _COUNT)

    assert {(kind.due, kind.room) for kind in engine.settle()} == {((True,), 16), ((True,), 20)}


def test_updates_of_a_large_learner_are_compiled_one_by_one(batches: TransitionBatch) -> None:
    engine, learner = UpdateEngine(0), SlowLearner(width=100_000)

    engine.run(learner.update, batches, _COUNT)
    ((key, form),) = engine.settle().items()

    assert form.program is not None
    assert key == Kind("update", (True,), form_of(batches.split(_COUNT)[0]), None)
