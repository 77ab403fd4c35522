"""Replays whose rows lie on a device give the batches, and the checkpoints, of those on the host, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.functional.side_stream import side_stream
from agent_core.history.recurrent import GruConfig
from agent_core.interfaces import ReplayBuffer
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.registry import AnyReplay, members
from agent_core.replay.device_rows import DeviceRows, rows_on
from agent_core.replay.fifo import FifoConfig, FifoReplay
from agent_core.replay.hindsight import HindsightConfig, HindsightReplay
from agent_core.replay.mixed import MixedConfig, MixedReplay
from agent_core.replay.n_step import NStepReplay
from agent_core.replay.packed_rows import PackedRows
from agent_core.replay.prioritized import PrioritizedConfig, PrioritizedReplay
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.collate import block_of
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ProblemSpec, RaggedActions, Transition, TransitionBatch
from tests.support.late_stream import DEVICES, LateStream
from tests.support.learners import BOX_SPEC, SPEC, fingerprint, made_up

_CPU = torch.device("cpu")
_Build = Callable[..., PackedRows]
"""Makes rows, with so many notes."""

_GOAL = HindsightConfig(goal_at=0, achieved_at=2, goal_size=1, tolerance=0.5)
_KINDS: dict[str, Callable[[_Build], ReplayBuffer]] = {
    "fifo": lambda rows: FifoReplay(rows()),
    "prioritized": lambda rows: PrioritizedReplay(FifoReplay(rows()), PrioritizedConfig()),
    "n_step": lambda rows: NStepReplay(rows(notes=2), 3, 0.9),
    "prioritized windows": lambda rows: PrioritizedReplay(
        NStepReplay(rows(notes=2), 3, 0.9), PrioritizedConfig()
    ),
    "hindsight": lambda rows: HindsightReplay(rows(notes=3), _GOAL),
    "mixed": lambda rows: MixedReplay(rows(), rows(), MixedConfig()),
}
each_kind = pytest.mark.parametrize("kind", _KINDS)
each_spec = pytest.mark.parametrize("spec", [SPEC, BOX_SPEC], ids=["sets", "box"])
each_device = pytest.mark.parametrize("device", DEVICES, ids=str)


def _on_device(device: torch.device, spec: ProblemSpec, **limits: Any) -> DeviceRows:
    return DeviceRows(spec, device, side_stream(device), **limits)


@cache
def _stream(spec: ProblemSpec) -> Sequence[Transition]:
    """Logged ones and our own, in episodes that overtake each other. Every third has the set of the first; after
    every seventh nothing is known."""
    made = made_up(400, spec=spec)
    order = [start + step for start in range(0, 400, 8) for step in (4, 0, 1, 5, 3, 2, 6, 7)]
    stream = [replace(made[at], model_version=at % 4) for at in order]
    shared = made[0].actions
    stream[::3] = [replace(t, actions=shared, action=0) for t in stream[::3]]
    stream[::7] = [
        replace(t, next_state=None, next_actions=None, next_action=None) for t in stream[::7]
    ]
    return stream


def _assert_same(first: TransitionBatch, second: TransitionBatch) -> None:
    """Bit by bit, wherever they are."""
    for field in fields(TransitionBatch):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, RaggedActions):
            assert one.width == other.width
            _assert_equal(one.features, other.features, f"{field.name}.features")
            _assert_equal(one.offsets, other.offsets, f"{field.name}.offsets")
        else:
            _assert_equal(one, other, field.name)


def _assert_equal(one: torch.Tensor, other: torch.Tensor, name: str) -> None:
    assert one.dtype == other.dtype, name
    assert torch.equal(one.cpu(), other.cpu()), name


def _assert_same_draw(size: int, *replays: ReplayBuffer) -> None:
    """The same batch from both, and errors on it."""
    first, second = (one.sample(size, torch.Generator().manual_seed(size)) for one in replays)
    _assert_same(first, second)
    errors = torch.rand(size, generator=torch.Generator().manual_seed(size))
    for replay, batch in zip(replays, (first, second), strict=True):
        replay.feed_back(batch, errors)


_STEPS = st.one_of(
    st.tuples(st.just("store"), st.integers(0, 60)),
    st.tuples(st.just("draw"), st.integers(1, 40)),
    st.tuples(st.just("swap"), st.just(0)),
)


_LIMITS: list[dict[str, int]] = [{"capacity": 16}, {"capacity": 500, "capacity_bytes": 4_000}]


@each_device
@each_spec
@each_kind
@settings(max_examples=15)
@given(limits=st.sampled_from(_LIMITS), steps=st.lists(_STEPS, min_size=3, max_size=10))
def test_whatever_is_stored_drawn_and_restored_both_forms_agree(
    kind: str,
    spec: ProblemSpec,
    device: torch.device,
    limits: dict[str, int],
    steps: list[tuple[str, int]],
) -> None:
    host = _KINDS[kind](partial(PackedRows, spec, **limits))
    there = _KINDS[kind](partial(_on_device, device, spec, **limits))
    at = 0

    for step, count in steps:
        if step == "store":
            block = block_of(_stream(spec)[at : at + count], spec)
            host.extend(block)
            there.extend(block)
            at += count
        elif step == "draw" and len(host):
            _assert_same_draw(count, host, there)
        else:
            saved, other = host.training_state(), there.training_state()
            host.load_training_state(other)
            there.load_training_state(saved)

    assert fingerprint(host.training_state()) == fingerprint(there.training_state())
    for first, second in zip(host.batches(7), there.batches(7), strict=True):
        _assert_same(first, second)


def test_every_registered_kind_that_is_drawn_from_is_tried() -> None:
    kinds = [c.model_fields["kind"].default for c in members(AnyReplay) if "replay" in c.needs]

    assert set(kinds) <= set(_KINDS)


@each_device
@each_spec
def test_both_forms_agree_while_the_tables_grow_and_wrap_around(
    spec: ProblemSpec, device: torch.device
) -> None:
    host = FifoReplay(PackedRows(spec, capacity=1500))
    there = FifoReplay(_on_device(device, spec, capacity=1500))
    stream = made_up(3500, spec=spec)

    # 1,024 rows at first, 1,500 after 1,024 transitions, the first of which is forgotten after 1,500.
    for start in range(0, 3500, 250):
        block = block_of(stream[start : start + 250], spec)
        for one in (host, there):
            one.extend(block)
        _assert_same_draw(64, host, there)


def _rows_and_stream(spec: ProblemSpec, count: int) -> tuple[DeviceRows, LateStream]:
    """With `count` transitions of which all were drawn once."""
    stream = LateStream()
    rows = DeviceRows(spec, _CPU, stream, capacity=100)
    rows.extend(block_of(made_up(count, spec=spec), spec))
    rows.gather(rows.numbers())
    stream.sent_bytes.clear()
    return rows, stream


def test_a_batch_of_what_is_on_the_device_costs_one_copy_of_its_numbers() -> None:
    rows, stream = _rows_and_stream(BOX_SPEC, 40)

    rows.gather(torch.arange(8, 40))

    assert stream.sent_bytes == [32 * 8]


def test_where_actions_come_as_sets_the_copy_says_too_where_they_lie() -> None:
    rows, stream = _rows_and_stream(SPEC, 40)

    rows.gather(torch.arange(8, 40))

    # A number, where the sets of now and of next begin, and their sizes: 5 int64.
    assert stream.sent_bytes == [32 * 5 * 8]


def test_new_transitions_are_sent_with_the_next_batch_however_many_blocks_they_came_in() -> None:
    rows, stream = _rows_and_stream(BOX_SPEC, 40)

    for one in made_up(30, seed=1, spec=BOX_SPEC):
        rows.extend(block_of([one], BOX_SPEC))
    before = list(stream.sent_bytes)
    rows.gather(torch.tensor([69]))

    # The number, 30 rows of 2 * 3 + 3 + 2 float32, 30 keys.
    assert before == []
    assert stream.sent_bytes == [8, 30 * 11 * 4, 30 * 8]


@each_spec
def test_nothing_is_written_where_a_copy_may_still_read(spec: ProblemSpec) -> None:
    stream = LateStream()
    rows = DeviceRows(spec, _CPU, stream, capacity=20)

    for start in range(0, 200, 5):
        rows.extend(block_of(_stream(spec)[start : start + 5], spec))
        rows.gather(rows.numbers())

    stream.settle()
    assert stream.waited_for


@each_spec
def test_a_batch_of_nothing_is_empty(spec: ProblemSpec) -> None:
    rows, _ = _rows_and_stream(spec, 3)

    batch = rows.gather(torch.tensor([], dtype=torch.int64))

    assert batch.state.shape == (0, spec.state_dim)
    assert batch.actions.offsets.tolist() == [0]


class _DeviceFifoConfig(FifoConfig):
    """The form of a device, on the host."""

    def build(self, spec: ProblemSpec, device: torch.device) -> FifoReplay:
        return FifoReplay(_on_device(device, spec, capacity=self.capacity))


def test_a_learner_becomes_the_same_with_a_window_of_what_was_seen_in_each_state() -> None:
    window = GruConfig(window=3, hidden_dim=4).build(observation_dim=2, action_dim=2)
    spec = ProblemSpec(window.state_dim, 2, 10, window.summary)
    schedule = ScheduleConfig(batch_size=8, warmup_transitions=5)
    memories = (FifoConfig(capacity=64), _DeviceFifoConfig(capacity=64))

    learners = [AgentLearner(DqnConfig(hidden=(8,)), one, schedule, spec) for one in memories]
    for one in learners:
        one.learn(made_up(100, spec=spec))

    first, second = (fingerprint(one.training_state()) for one in learners)
    assert first == second


def test_the_form_follows_the_device() -> None:
    host, there = (rows_on(torch.device(name), BOX_SPEC, capacity=8) for name in ("cpu", "meta"))

    assert type(host) is PackedRows
    assert type(there) is DeviceRows
