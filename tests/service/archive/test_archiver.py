"""The log goes to disk and Redis stays small: nothing lost, nothing twice, whenever it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from service.archive.archiver import Archiver
from service.archive.logic import START, StreamId
from service.archive.parts import list_parts, read_archive
from service.archive.repository import ArchiveRepository
from service.repository import PolicyKeys
from tests.support.ledgers import open_world
from tests.support.policies import bandit

KEYS = PolicyKeys("home")


@pytest.fixture
async def repository(redis_client: Redis) -> ArchiveRepository:
    return ArchiveRepository(redis_client)


async def fill(client: Redis, count: int) -> list[str]:
    """Appends events; returns their ids."""
    async with client.pipeline() as pipe:
        for at in range(count):
            pipe.xadd(KEYS.log, {"t": "reward", "d": f"d{at}", "b": b"body"})
        return [found.decode() for found in await pipe.execute()]


def archiver(
    repository: ArchiveRepository, root: Path, part_events: int = 100, every_s: float = 0.0
) -> Archiver:
    return Archiver(repository, root, part_events=part_events, every_s=every_s)


async def archive(
    repository: ArchiveRepository, root: Path, keep: int = 10, by: Archiver | None = None
) -> int:
    [length] = await repository.lengths([KEYS])
    return await (by or archiver(repository, root)).archive(KEYS, keep, length)


def archived(root: Path) -> list[str]:
    return [str(event.stream_id) for event in read_archive(root / "home")]


async def in_redis(client: Redis) -> list[str]:
    entries: Any = await client.xrange(KEYS.log)
    return [found.decode() for found, _ in entries]


async def test_everything_goes_to_disk_and_the_newest_stay_in_redis(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    ids = await fill(redis_client, 250)

    count = await archive(repository, tmp_path, keep=10)

    assert count == 250
    assert archived(tmp_path) == ids
    assert await in_redis(redis_client) == ids[-10:]


async def test_a_new_worker_continues_where_the_parts_end(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    ids = await fill(redis_client, 25)
    await archive(repository, tmp_path, keep=10)
    ids += await fill(redis_client, 5)

    count = await archive(repository, tmp_path, keep=10)
    nothing = await archive(repository, tmp_path, keep=10)

    assert (count, nothing) == (5, 0)
    assert archived(tmp_path) == ids
    assert await in_redis(redis_client) == ids[-10:]


async def test_a_crash_between_the_part_and_the_trim_repeats_nothing(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    """(failure table row 17): the first worker dies with its part written and Redis untrimmed."""
    ids = await fill(redis_client, 50)
    await archive(_Untrimming(redis_client), tmp_path)
    ids += await fill(redis_client, 3)

    count = await archive(repository, tmp_path)

    assert count == 3
    assert archived(tmp_path) == ids
    assert await in_redis(redis_client) == ids[-10:]


class _Untrimming(ArchiveRepository):
    """A Redis that is lost just before it would trim."""

    async def trim_log(self, keys: PolicyKeys, first: StreamId) -> None:
        return


async def test_a_torn_part_is_written_again_from_what_redis_still_has(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    """(failure table row 16)"""
    ids = await fill(redis_client, 20)
    await archive(_Untrimming(redis_client), tmp_path)
    [part] = list_parts(tmp_path / "home")
    part.path.write_bytes(part.path.read_bytes()[:100])

    await archive(repository, tmp_path)

    assert archived(tmp_path) == ids


async def test_two_workers_at_once_lose_and_repeat_nothing(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    """The first one lost its lease and does not know it yet."""
    first, second = archiver(repository, tmp_path), archiver(repository, tmp_path)
    ids = await fill(redis_client, 30)
    await archive(repository, tmp_path, by=first)
    for by in (second, first, second):
        ids += await fill(redis_client, 30)
        await archive(repository, tmp_path, by=by)

    await archive(repository, tmp_path, by=first)

    assert archived(tmp_path) == ids


async def test_few_events_are_archived_when_their_time_has_come(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    patient = archiver(repository, tmp_path, every_s=3600)
    await fill(redis_client, 5)
    first = await archive(repository, tmp_path, by=patient)
    await fill(redis_client, 99)
    early = await archive(repository, tmp_path, by=patient)
    await fill(redis_client, 1)
    full = await archive(repository, tmp_path, by=patient)

    assert (first, early, full) == (5, 0, 100)


async def test_parts_stay_few_where_events_are_rare(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    """64 rounds of 5 events; a part may hold 100. 320 / 100 leaves at least 4 parts."""
    slow, ids = archiver(repository, tmp_path), []
    for _ in range(64):
        ids += await fill(redis_client, 5)
        await archive(repository, tmp_path, by=slow)

    assert archived(tmp_path) == ids
    assert 4 <= len(list_parts(tmp_path / "home")) <= 12


async def test_the_log_is_trimmed_while_redis_refuses_writes(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    """(failure table row 33): nothing that archiving does needs memory in Redis."""
    ids = await fill(redis_client, 200)
    await redis_client.config_set("maxmemory", 1)
    try:
        count = await archive(repository, tmp_path, keep=10)
    finally:
        await redis_client.config_set("maxmemory", 0)

    assert count == 200
    assert archived(tmp_path) == ids
    assert await in_redis(redis_client) == ids[-10:]


async def test_a_disk_that_is_full_leaves_everything_in_redis(
    redis_client: Redis, repository: ArchiveRepository, tmp_path: Path
) -> None:
    ids = await fill(redis_client, 20)
    (tmp_path / "home").write_text("a file where the folder should be")

    with pytest.raises(OSError, match="home"):
        await archive(repository, tmp_path)

    assert await in_redis(redis_client) == ids


async def test_the_columns_of_decisions_and_shadows_can_be_queried(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_world(redis_url, bandit()) as world:
        await world.decide("d1", action="b", propensity=0.75, version=4)
        await world.write(world.shadow("s1", propensity=None))
        await world.reward("d1", 1.0)
        await archive(ArchiveRepository(world.client), tmp_path)

        rows = {
            event.type: (event.model_version, event.action_id, event.propensity, event.reason)
            for event in read_archive(tmp_path / "home")
        }
        assert rows["decision"] == ("home@4", "b", 0.75, "policy")
        assert rows["shadow"] == ("home@1", "b", None, None)
        assert rows["reward"] == (None, None, None, None)


# -- the replay stream ----------------------------------------------------------------------------


async def append_transitions(client: Redis, count: int) -> list[StreamId]:
    async with client.pipeline() as pipe:
        for at in range(1, count + 1):
            pipe.xadd(KEYS.replay, {"b": b"transition"}, id=f"{at}-0")
        await pipe.execute()
    return [StreamId(at, 0) for at in range(1, count + 1)]


@pytest.mark.parametrize(
    ("learned", "missed"),
    [(StreamId(20, 0), 0), (StreamId(15, 0), 0), (StreamId(12, 0), 3), (START, 15)],
)
async def test_the_replay_stream_keeps_its_limit_and_says_what_the_learner_missed(
    redis_client: Redis, repository: ArchiveRepository, learned: StreamId, missed: int
) -> None:
    """20 transitions, limit 5: 1 to 15 go. A learner that is at 12 will never see 13, 14, 15."""
    await append_transitions(redis_client, 20)

    found = await repository.trim_replay(KEYS, 5, learned)

    assert found == (missed, False)
    assert await redis_client.xlen(KEYS.replay) == 5
    assert int(await redis_client.hget(KEYS.counts, "replay_dropped") or 0) == missed


async def test_a_replay_stream_within_its_limit_is_left_alone(
    redis_client: Redis, repository: ArchiveRepository
) -> None:
    await append_transitions(redis_client, 5)

    assert await repository.trim_replay(KEYS, 5, START) == (0, False)
    assert await redis_client.xlen(KEYS.replay) == 5
