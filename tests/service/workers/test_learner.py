"""The learner over a real Redis: from the replay stream to versions, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from redis.asyncio import Redis

from agent_core.snapshot import restore_policy
from service.learning.schemas import LearnerStatus
from service.policies.schemas import PolicyEvent
from service.workers.learner import device_of, train_all
from tests.support.policies import bandit, sequential, with_agent
from tests.support.proxy import FaultProxy
from tests.support.training import Studio, open_studio
from tests.support.transitions import a_transition
from tests.support.waiting import eventually

QUICK: dict[str, Any] = {"publish_every_s": 0.02, "checkpoint_every_s": 0.05}


def quick(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document | {"learning": QUICK | changes}


async def said(studio: Studio, **fields: Any) -> LearnerStatus:
    """The learner's status, once it says `fields`."""

    async def holds() -> bool:
        status = await studio.status()
        return all(getattr(status, name) == value for name, value in fields.items())

    await eventually(holds, 20.0)
    return await studio.status()


# -- from the stream to versions --------------------------------------------------------------------


async def test_what_the_joiner_appended_becomes_a_live_version(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio, studio.learner():
        ids = await studio.append(studio.made_up(100))
        await studio.learned(100)

        newest = (await studio.versions())[-1]
        assert (newest.first, newest.last) == (ids[0], ids[-1])
        assert (await studio.meta()).live == newest.version
        snapshot = studio.artefacts.load("home", newest.version)
        restore_policy(snapshot, studio.config.agent)
        assert (snapshot.experience, snapshot.parent) == (100, newest.parent)


async def test_a_policy_that_appears_later_is_trained_too(redis_url: str, tmp_path: Path) -> None:
    async with (
        open_studio(redis_url, tmp_path, quick(bandit())) as studio,
        studio.learner(),
        open_studio(redis_url, tmp_path, quick(bandit("shop"))) as other,
    ):
        await studio.append(studio.made_up(5))
        await other.append(other.made_up(7))
        await studio.learned(5)
        await other.learned(7)

        newest = [(await one.versions())[-1] for one in (studio, other)]
        assert [version.experience for version in newest] == [5, 7]


async def test_without_auto_promotion_versions_are_candidates(
    redis_url: str, tmp_path: Path
) -> None:
    document = quick(bandit(), auto_promote=False)
    async with open_studio(redis_url, tmp_path, document) as studio, studio.learner():
        await studio.append(studio.made_up(5))
        await studio.learned(5)

        assert (await studio.meta()).live == 1


async def test_versions_come_no_faster_than_the_policy_says(redis_url: str, tmp_path: Path) -> None:
    """The first transition is published at once; the next hundred wait for the interval together."""
    document = quick(bandit(), publish_every_s=0.4)
    async with open_studio(redis_url, tmp_path, document) as studio, studio.learner():
        [first, *rest] = studio.made_up(101)
        await studio.append([first])
        await studio.learned(1)
        for transition in rest:
            await studio.append([transition])
        await studio.learned(101)

        assert len(await studio.versions()) <= 4  # the untrained one, the first, one or two more


async def test_entries_that_must_not_teach_are_counted_by_reason(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio:
        good = studio.made_up(3)
        await studio.append(good[:1])
        await studio.append(good[1:2], schema="fs:other")
        await studio.append([replace(good[1], reward=float("nan"))])
        await studio.append([replace(good[1], reward=1e39)])  # a number, but not one in float32
        await studio.append([a_transition()])  # the schema's name, and not its sizes
        await studio.append_raw([b"", b"garbage", b"\x03garbage"])
        await studio.append(good[2:])

        async with studio.learner():
            status = await said(studio, experience=2)

        assert status.skipped == {"schema": 1, "non_finite": 2, "corrupt": 3, "format": 1}
        assert status.missed == 0


async def test_decisions_of_a_quarantined_version_teach_nothing(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio:
        async with studio.learner():
            await studio.append(studio.made_up(3))
            await studio.learned(3)
        event = PolicyEvent(what="rollback", who="test", why="", at="now", detail={})
        bad = (await studio.meta()).live
        await studio.policies.point(studio.keys, 1, pin=True, quarantine=True, event=event)
        transitions = [replace(one, model_version=bad) for one in studio.made_up(2)]

        async with studio.learner():
            await studio.append(transitions)
            status = await said(studio, skipped={"quarantined": 2})

        assert status.experience == 3
        assert (await studio.meta()).live == 1


async def test_entries_trimmed_before_they_were_read_are_counted(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio:
        async with studio.learner():
            await studio.append(studio.made_up(10))
            await studio.learned(10)
        await studio.append(studio.made_up(10))
        await studio.client.xtrim(studio.keys.replay, maxlen=4, approximate=False)

        async with studio.learner():
            status = await said(studio, experience=14)

        assert status.missed == 6  # 10 new ones, of which 4 were left


# -- what happens meanwhile -------------------------------------------------------------------------


async def test_a_restarted_policy_begins_a_new_model_and_old_weights_are_never_published(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio, studio.learner():
        await studio.append(studio.made_up(10))
        await studio.learned(10)
        ridge = {"kind": "linear", "ridge": 5.0}
        await studio.register(quick(with_agent(bandit(), policy_learner=ridge)))
        fresh = (await studio.versions())[-1]
        await studio.append(studio.made_up(5, seed=1))
        await studio.learned(15)

        assert fresh.experience == 0
        later = [one for one in await studio.versions() if one.version > fresh.version]
        assert {one.config_hash for one in later} == {studio.config.config_hash}
        restore_policy(studio.artefacts.load("home", later[-1].version), studio.config.agent)


async def test_another_exploration_keeps_the_training(redis_url: str, tmp_path: Path) -> None:
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio, studio.learner():
        await studio.append(studio.made_up(10))
        await studio.learned(10)
        other = {"kind": "epsilon_greedy", "epsilon": 0.1}
        await studio.register(quick(with_agent(bandit(), exploration=other)))
        # Some may come before the learner has seen the change: they count as well.
        seeds = itertools.count(1)

        async def holds() -> bool:
            await studio.append(studio.made_up(1, seed=next(seeds)))
            return (await studio.versions())[-1].config_hash == studio.config.config_hash

        await eventually(holds)

        assert (await studio.versions())[-1].experience > 10


async def test_two_learners_never_train_the_same_policy(redis_url: str, tmp_path: Path) -> None:
    async with (
        open_studio(redis_url, tmp_path, quick(bandit())) as studio,
        studio.learner(),
        studio.learner(),
    ):
        for seed in range(5):
            await studio.append(studio.made_up(20, seed))
            await studio.learned(20 * (seed + 1))

        experiences = [one.experience for one in await studio.versions()]
        assert experiences == sorted(set(experiences))


async def test_redis_going_away_changes_nothing(redis_url: str, tmp_path: Path) -> None:
    document = quick(sequential())
    async with open_studio(redis_url, tmp_path, document) as studio, FaultProxy(redis_url) as proxy:
        settings = studio.settings.model_copy(update={"redis_url": proxy.url})
        stop = asyncio.Event()
        learner = asyncio.create_task(train_all(settings, stop))
        for seed in range(4):
            await studio.append(studio.made_up(40, seed))
            await studio.learned(40 * seed + 1)
            await (proxy.reset() if seed % 2 else proxy.refuse())
            await studio.append(studio.made_up(20, seed + 100))
            await proxy.heal()
        await studio.learned(240)
        stop.set()
        await learner

        assert await studio.checkpointed() == await studio.undisturbed(tmp_path / "calm")


async def test_a_stream_that_is_gone_is_waited_for(redis_url: str, tmp_path: Path) -> None:
    """Redis was emptied; the policy is registered again, and training goes on."""
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio, studio.learner():
        await studio.append(studio.made_up(5))
        await studio.learned(5)
        await studio.client.flushall()
        studio.artefacts.forget("home", 1)
        await studio.register()
        await studio.append(studio.made_up(5, seed=1))
        await studio.learned(10)

        assert (await studio.versions())[-1].version > 2  # numbers whose files exist are not reused


async def test_the_newest_checkpoint_is_damaged_and_the_one_before_is_used(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio:
        for seed in range(2):
            async with studio.learner():
                await studio.append(studio.made_up(10, seed))
                await studio.learned(10 * (seed + 1))
        newest = sorted((await studio.folder()).glob("checkpoint-*"))[-1] / "tensors.safetensors"
        os.truncate(newest, newest.stat().st_size - 1)

        async with studio.learner():
            await studio.append(studio.made_up(10, 2))
            await studio.learned(30)

        assert await studio.checkpointed() == await studio.undisturbed(tmp_path / "calm")


async def test_when_no_checkpoint_can_be_used_training_stops_and_says_why(
    redis_url: str, tmp_path: Path
) -> None:
    """To begin again silently would throw away what was learned."""
    async with open_studio(redis_url, tmp_path, quick(bandit())) as studio:
        async with studio.learner():
            await studio.append(studio.made_up(10))
            await studio.learned(10)
        for tensors in (await studio.folder()).rglob("tensors.safetensors"):
            tensors.write_bytes(b"")
        await studio.ask()

        async with studio.learner():
            report = await studio.ended()

        assert report.status == "failed"
        assert "truncated" in (report.verdict or "")
        assert re.match("truncated", (await studio.status()).refused)
        assert (await studio.versions())[-1].experience == 10


# -- the process ------------------------------------------------------------------------------------


def test_auto_is_the_gpu_if_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"

    assert device_of("auto").type == expected
    assert device_of("cpu").type == "cpu"


@pytest.mark.parametrize("count", [1, 3])
async def test_learners_stop_promptly_and_keep_what_they_learned(
    redis_url: str, tmp_path: Path, count: int
) -> None:
    document = quick(bandit(), checkpoint_every_s=1000)
    async with open_studio(redis_url, tmp_path, document) as studio:
        async with studio.learner():
            await studio.append(studio.made_up(10 * count))
            await studio.learned(10 * count)

        async with Redis.from_url(redis_url) as client:
            assert not [key async for key in client.scan_iter("nacre:lease:*")]
        assert await studio.checkpointed() == await studio.undisturbed(tmp_path / "calm")
