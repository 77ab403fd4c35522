"""Reading the replay stream: in order, in blocks, and knowing what is gone."""

from __future__ import annotations

import asyncio
import time

from redis.asyncio import Redis

from service.replay.repository import START, ReplayRepository
from service.repository import PolicyKeys, text

KEYS = PolicyKeys("home")


async def append(client: Redis, *bodies: bytes, outcome: str = "rewarded") -> list[str]:
    """What `finish.lua` does with transitions."""
    ids = [text(await client.xadd(KEYS.replay, {"b": body})) for body in bodies]
    await client.hincrby(KEYS.counts, outcome, len(bodies))
    return ids


async def test_blocks_follow_one_another_without_gap_or_overlap(redis_client: Redis) -> None:
    replay = ReplayRepository(redis_client)
    ids = await append(redis_client, b"1", b"2", b"3")

    first = await replay.after(KEYS, START, 2)
    second = await replay.after(KEYS, first.ids[-1], 2)

    assert (first.ids, first.data) == (ids[:2], [b"1", b"2"])
    assert (second.ids, second.data) == (ids[2:], [b"3"])


async def test_a_policy_without_a_stream_has_nothing(redis_client: Redis) -> None:
    block = await ReplayRepository(redis_client).after(KEYS, START, 10)

    assert (block.ids, block.data, block.appended, block.trimmed) == ([], [], 0, 0)


async def test_what_was_appended_and_trimmed_is_known_whatever_the_outcome_was(
    redis_client: Redis,
) -> None:
    """3 rewarded + 2 defaulted + 1 logged elsewhere = 6, of which 4 are left."""
    await append(redis_client, b"", b"", b"")
    await append(redis_client, b"", b"", outcome="defaulted")
    await append(redis_client, b"", outcome="transitions")
    await redis_client.xtrim(KEYS.replay, maxlen=4, approximate=False)

    block = await ReplayRepository(redis_client).after(KEYS, START, 1)

    assert (block.appended, block.trimmed) == (6, 2)


async def test_counts_that_were_reset_do_not_hide_what_is_there(redis_client: Redis) -> None:
    await append(redis_client, b"1", b"2")
    await redis_client.delete(KEYS.counts)

    block = await ReplayRepository(redis_client).after(KEYS, START, 1)

    assert (block.appended, block.trimmed) == (2, 0)


async def test_an_entry_of_another_form_is_read_as_empty(redis_client: Redis) -> None:
    await redis_client.xadd(KEYS.replay, {"other": "x"})

    block = await ReplayRepository(redis_client).after(KEYS, START, 1)

    assert block.data == [b""]


async def test_waiting_ends_when_something_comes(redis_client: Redis) -> None:
    replay = ReplayRepository(redis_client)
    waiting = asyncio.create_task(replay.wait(KEYS, START, 5.0))
    started = time.monotonic()
    await append(redis_client, b"1")

    assert await waiting
    assert time.monotonic() - started < 2.0


async def test_waiting_ends_when_nothing_comes(redis_client: Redis) -> None:
    replay = ReplayRepository(redis_client)
    [last] = await append(redis_client, b"1")

    assert not await replay.wait(KEYS, last, 0.0)
