"""What a transition costs in memory, and how long a batch of 256 takes to draw."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import torch

from agent_core.replay.fifo import FifoConfig, FifoReplay
from agent_core.training.collate import block_of
from agent_core.types import ProblemSpec, Transition
from benchmarks.replay.workload import shop, transitions, walker

BATCH: Final = 256
_HELD: Final = 16_384
_DRAWS: Final = 500


class SampleResult(msgspec.Struct, frozen=True):
    """Microseconds of processor time of a batch of 256, all rounds; those of stable-baselines3 side by side,
    None where it is not installed. `ours_of_eight`: where eight are drawn at once, as the learner does when it
    owes as many updates. `ours_of_sets`: ten actions, of which all steps have the same."""

    ours: list[float]
    ours_of_eight: list[float]
    ours_of_sets: list[float]
    sb3: list[float] | None


def bytes_of_one(spec: ProblemSpec, actions: int) -> float:
    """What a transition takes, action sets and their keys included, where all have the same actions."""
    replay = _filled(spec, transitions(spec, _HELD, actions))
    return replay.rows.content_bytes / len(replay)


def bytes_of_continuous() -> float:
    """17 numbers, before and after, and an action of 6."""
    return bytes_of_one(walker(_HELD).agent.spec, 1)


def bytes_of_a_hundred() -> float:
    """16 numbers, before and after, and 100 actions of 16 numbers each."""
    return bytes_of_one(shop(_HELD, 16, 16).agent.spec, 100)


def measure_samples(rounds: int, advance: Callable[[], None]) -> SampleResult:
    """Ours and theirs in turns, in this process, with the same number of transitions."""
    spec, sets = walker(_HELD).agent.spec, shop(_HELD, 17, 6).agent.spec
    generator = torch.Generator().manual_seed(0)
    ours = _filled(spec, transitions(spec, _HELD))
    ours_of_sets = _filled(sets, transitions(sets, _HELD, 10))
    sb3 = _sb3_buffer(transitions(spec, _HELD))
    result = SampleResult([], [], [], None if sb3 is None else [])
    for _ in range(rounds):
        result.ours.append(_cpu_us(lambda: ours.sample(BATCH, generator)))
        eight = _cpu_us(lambda: ours.sample(8 * BATCH, generator)) / 8
        result.ours_of_eight.append(eight)
        result.ours_of_sets.append(_cpu_us(lambda: ours_of_sets.sample(BATCH, generator)))
        if sb3 is not None and result.sb3 is not None:
            result.sb3.append(_cpu_us(lambda: sb3.sample(BATCH)))
        advance()
    return result


def _filled(spec: ProblemSpec, made: list[Transition]) -> FifoReplay:
    replay = FifoConfig(capacity=len(made)).build(spec, torch.device("cpu"))
    replay.extend(block_of(made, spec))
    return replay


def _cpu_us(draw: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(_DRAWS):
        draw()
    return (time.process_time() - start) / _DRAWS * 1e6


def _sb3_buffer(made: list[Transition]) -> Any:
    """Their replay buffer with the same transitions; None where it is not installed."""
    try:
        from gymnasium.spaces import Box
        from stable_baselines3.common.buffers import ReplayBuffer
    except ImportError:
        return None
    seen, done = (Box(-1.0, 1.0, (size,), np.float32) for size in (17, 6))
    buffer = ReplayBuffer(len(made), seen, done, device="cpu")
    for t in made:
        after = t.next_state if t.next_state is not None else t.state
        number = np.array([t.reward]), np.array([t.terminated])
        buffer.add(t.state[None], after[None], t.actions.features, *number, [{}])
    return buffer
