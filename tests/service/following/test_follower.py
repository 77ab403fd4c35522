"""Following a log: every event once, in order, with what came of it; across crashes and trimming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from service.following.follower import Follower
from service.following.observer import LogEvent, Observer
from service.following.repository import FollowingRepository
from service.joining.joiner import Watched
from service.policies.config import parse_policy
from service.policies.repository import PolicyMeta
from service.repository import PolicyKeys
from tests.support.policies import bandit

_KEYS = PolicyKeys("home")


class _Recorder:
    """Remembers the bodies that it took, and how often it might act."""

    def __init__(self, kept: bytes) -> None:
        self.bodies: list[str] = json.loads(kept) if kept else []
        self.acted = 0
        self.fails = False
        self.fails_to_act = False
        self.is_cut_off = False

    def take(self, events: Sequence[LogEvent]) -> None:
        self.bodies += [event.body.decode() for event in events]
        if self.fails:
            raise RuntimeError("a defect")

    def state(self) -> bytes:
        return json.dumps(self.bodies).encode()

    async def act(self, policy: Watched, now_ms: int) -> None:
        self.acted += 1
        if self.is_cut_off:
            raise RedisConnectionError("away")
        if self.fails_to_act:
            raise RuntimeError("a defect")


class _Flaky(FollowingRepository):
    """Redis, which may be away when something is to be stored."""

    is_away = False

    async def save(self, *args: Any) -> None:
        if self.is_away:
            raise RedisConnectionError("away")
        await super().save(*args)


class _World:
    """One policy's log and who follows it; `restart` is what a new worker does."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.now_ms = 0
        self.recorders: list[_Recorder] = []
        self.repository = _Flaky(client)
        self.restart()

    def restart(self) -> None:
        self.follower = Follower(self.repository, {"one": self.open, "two": self.open})

    def open(self, policy: Watched, kept: bytes) -> Observer:
        self.recorders.append(_Recorder(kept))
        return self.recorders[-1]

    async def log(self, *bodies: str) -> None:
        for body in bodies:
            await self.client.xadd(_KEYS.log, {"t": "joined", "d": "d", "b": body})

    async def follow(self, wait_s: float = 60.0, later_ms: int = 1_000) -> bool:
        self.now_ms += later_ms
        document = bandit()
        document["reward"]["wait_s"] = wait_s
        meta = PolicyMeta(b"", 1, 0, False, 0, 0)
        return await self.follower.follow(
            Watched(_KEYS, parse_policy(document), meta, frozenset()), self.now_ms
        )


@pytest.fixture
def world(redis_client: Redis) -> _World:
    return _World(redis_client)


async def test_every_event_is_taken_once_and_in_order(world: _World) -> None:
    await world.log("a", "b")
    await world.follow()
    await world.log("c")
    await world.follow()
    await world.follow()

    recorder, _ = world.recorders
    assert recorder.bodies == ["a", "b", "c"]
    assert recorder.acted == 3


async def test_another_worker_goes_on_where_the_last_one_stopped(world: _World) -> None:
    await world.log("a", "b")
    await world.follow()
    await world.log("c")

    world.restart()
    await world.follow()

    assert world.recorders[-1].bodies == ["a", "b", "c"]


async def test_what_was_taken_and_not_stored_is_taken_again(world: _World) -> None:
    await world.log("a")
    await world.follow()
    world.repository.is_away = True
    await world.log("b")

    with pytest.raises(RedisConnectionError):
        await world.follow()
    world.repository.is_away = False
    await world.follow()

    assert world.recorders[-1].bodies == ["a", "b"]


async def test_states_are_stored_once_a_second_and_nothing_counts_twice(world: _World) -> None:
    await world.log("a")
    await world.follow()
    await world.log("b")
    await world.follow(later_ms=500)
    stored: Any = await world.client.hgetall(_KEYS.following)

    world.restart()
    await world.follow(later_ms=500)

    assert json.loads(stored[b"state:one"]) == ["a"]
    assert world.recorders[-1].bodies == ["a", "b"]


async def test_what_was_taken_last_is_stored_though_nothing_follows(world: _World) -> None:
    await world.log("a")
    await world.follow()
    await world.log("b")
    await world.follow(later_ms=500)
    await world.follow(later_ms=500)

    stored: Any = await world.client.hgetall(_KEYS.following)
    assert json.loads(stored[b"state:one"]) == ["a", "b"]


@pytest.mark.parametrize("where", ["fails", "fails_to_act"])
async def test_a_defect_of_one_observer_stops_no_other(world: _World, where: str) -> None:
    await world.log("a")
    await world.follow()
    one, two = world.recorders
    setattr(one, where, True)
    await world.log("b")
    await world.follow()
    await world.log("c")
    await world.follow()

    assert two.bodies == ["a", "b", "c"]
    assert "c" not in one.bodies
    assert one.acted <= 2


async def test_a_long_log_is_read_in_turns(world: _World) -> None:
    await world.log(*map(str, range(501)))

    assert await world.follow()
    assert not await world.follow()
    assert world.recorders[-1].bodies == [str(n) for n in range(501)]


async def test_a_log_that_was_trimmed_is_followed_from_where_it_begins(world: _World) -> None:
    await world.log("a", "b", "c", "d")
    await world.follow()
    await world.log("e", "f")
    entries: Any = await world.client.xrevrange(_KEYS.log, count=1)

    await world.client.xtrim(_KEYS.log, minid=entries[0][0].decode(), approximate=False)
    await world.follow()

    assert world.recorders[-1].bodies == ["a", "b", "c", "d", "f"]


async def test_observers_are_opened_anew_for_another_declaration(world: _World) -> None:
    await world.log("a")
    await world.follow()

    await world.follow(wait_s=30.0)

    assert len(world.recorders) == 4
    assert world.recorders[-1].bodies == ["a"]


async def test_a_policy_that_nobody_follows_costs_one_look(redis_client: Redis) -> None:
    follower = Follower(FollowingRepository(redis_client), {"none": lambda policy, kept: None})
    meta = PolicyMeta(b"", 1, 0, False, 0, 0)
    policy = Watched(_KEYS, parse_policy(bandit()), meta, frozenset())

    assert not await follower.follow(policy, 0)
    assert await redis_client.hgetall(_KEYS.following) == {}


async def test_what_redis_did_not_take_while_acting_is_done_again_from_what_is_stored(
    world: _World,
) -> None:
    await world.log("a")
    await world.follow()
    world.recorders[0].is_cut_off = True
    await world.log("b")

    with pytest.raises(RedisConnectionError):
        await world.follow()
    await world.follow()

    assert len(world.recorders) == 4
    assert world.recorders[-1].bodies == ["a", "b"]
    assert world.recorders[-1].acted == 1


async def test_an_observer_that_cannot_be_opened_stops_no_other(world: _World) -> None:
    def broken(policy: Watched, kept: bytes) -> Observer:
        raise RuntimeError("a defect")

    world.follower = Follower(world.repository, {"broken": broken, "two": world.open})
    await world.log("a")

    await world.follow()

    assert world.recorders[-1].bodies == ["a"]
