"""How fast the entries of a real Redis stream become rows that can be replayed.

The whole path of the learner: a block of 1,024 entries is read, checked, decoded and stored. Against it
stands reading alone: the same commands, and nobody looks at the replies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import torch
from redis.asyncio import Redis

from agent_core.types import Transition
from benchmarks.replay.workload import shop, transitions, walker
from service.learning.training import PolicyTraining
from service.policies.config import PolicyConfig
from service.redis_server import PrivateRedis
from service.replay.codec import encode_transition
from service.replay.repository import START, ReplayRepository
from service.repository import PolicyKeys, text

BLOCK: Final = 1024
_KEYS: Final = PolicyKeys("bench")
_CAPACITY: Final = 16_384
"""Less than there are entries, so that some are forgotten."""


class Passage(msgspec.Struct, frozen=True):
    """One pass over all entries: seconds of processor time of this process, and by the clock."""

    entries: int
    cpu_s: float
    wall_s: float


class StreamResult(msgspec.Struct, frozen=True):
    """One kind of transition. `entry_bytes`: of one entry; of each way all rounds, side by side."""

    title: str
    entry_bytes: float
    learned: list[Passage]
    read: list[Passage]


def measure_streams(
    directory: Path, entries: int, rounds: int, advance: Callable[[str], None]
) -> list[StreamResult]:
    """All kinds, each in a Redis that starts empty; `advance` is told after each round."""
    kinds: list[tuple[str, PolicyConfig, int]] = [
        ("17 numbers, a continuous action of 6", walker(_CAPACITY), 1),
        ("8 numbers, 5 actions of 4 numbers that stay the same", shop(_CAPACITY, 8, 4), 5),
    ]
    results: list[StreamResult] = []
    for title, config, actions in kinds:
        made = transitions(config.agent.spec, entries, actions)
        told = partial(advance, title)
        with PrivateRedis(directory / str(len(results))) as server:
            found = asyncio.run(_measure(server.url, config, made, rounds, told))
        results.append(StreamResult(title, *found))
    return results


async def _measure(
    url: str,
    config: PolicyConfig,
    made: Sequence[Transition],
    rounds: int,
    advance: Callable[[], None],
) -> tuple[float, list[Passage], list[Passage]]:
    bodies = [encode_transition(one, config.transition_schema) for one in made]
    learned, read = [], []
    async with Redis.from_url(url) as client:
        await _fill(client, bodies)
        for _ in range(rounds):
            learned.append(await _timed(len(bodies), lambda: _learn(client, config)))
            read.append(await _timed(len(bodies), lambda: _read(client)))
            advance()
    return sum(map(len, bodies)) / len(bodies), learned, read


async def _fill(client: Redis, bodies: Sequence[bytes]) -> None:
    for start in range(0, len(bodies), BLOCK):
        async with client.pipeline(transaction=False) as pipe:
            for body in bodies[start : start + BLOCK]:
                pipe.xadd(_KEYS.replay, {"b": body})
            await pipe.execute()


async def _timed(entries: int, run: Callable[[], Awaitable[int]]) -> Passage:
    cpu, wall = time.process_time(), time.perf_counter()
    passed = await run()
    assert passed == entries, "every entry is good"
    return Passage(entries, time.process_time() - cpu, time.perf_counter() - wall)


async def _learn(client: Redis, config: PolicyConfig) -> int:
    replay, training = ReplayRepository(client), PolicyTraining(config, torch.device("cpu"))
    while (block := await replay.after(_KEYS, training.progress.position, BLOCK)).ids:
        training.take(block, frozenset())
    return training.experience


async def _read(client: Redis) -> int:
    position, count = START, 0
    while True:
        async with client.pipeline(transaction=True) as pipe:
            pipe.response_callbacks = {}
            pipe.xrange(_KEYS.replay, min=f"({position}", count=BLOCK)
            [found] = await pipe.execute()
        if not found:
            return count
        position, count = text(found[-1][0]), count + len(found)
