"""Another set of weights makes another line of versions, which learns nothing that the old set totalled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from service.policies.config import parse_policy
from tests.support.ledgers import World, open_world
from tests.support.policies import bandit, with_agent
from tests.support.training import Studio, open_studio
from tests.support.waiting import eventually

OLD: dict[str, float] = {"click": 1.0, "dwell_s": 0.0}
NEW: dict[str, float] = {"click": 0.0, "dwell_s": 0.5}
SENT: dict[str, float] = {"click": 1.0, "dwell_s": 10.0}
"""Worth 1.0 under the old weights, and 5.0 under the new ones."""


def document(weights: dict[str, float], **rule: Any) -> dict[str, Any]:
    learning = {"publish_every_s": 0.02, "checkpoint_every_s": 0.05}
    reward = {"wait_s": 60, "components": weights, **rule}
    return bandit(reward=reward, learning=learning)


@asynccontextmanager
async def open_both(redis_url: str, folder: Path) -> AsyncIterator[tuple[World, Studio]]:
    """A policy with the old weights, whose decisions a test joins and a learner learns."""
    async with (
        open_world(redis_url, document(OLD)) as world,
        open_studio(redis_url, folder, document(OLD)) as studio,
    ):
        yield world, studio


async def decide(world: World, *names: str) -> None:
    for name in names:
        await world.decide(name)
        await world.reward(name, None, reward_id="r", components=SENT)


async def learned_alone(studio: Studio, newest: str, refused: int) -> None:
    """The line of now learned the transition `newest` of the stream, and refused those before it."""

    async def holds() -> bool:
        status = await studio.status()
        is_new = status.lineage == (await studio.meta()).lineage
        return is_new and status.position == newest and status.skipped == {"schema": refused}

    await eventually(holds, 20.0)
    await studio.learned(1)
    version = (await studio.versions())[-1]
    assert (version.experience, version.first, version.last) == (1, newest, newest)


async def test_what_the_old_weights_totalled_is_not_learned_under_the_new_ones(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_both(redis_url, tmp_path) as (world, studio), studio.learner():
        await decide(world, "d1", "d2")
        await world.join(at_ms=world.deadline_ms)
        await studio.learned(2)

        await decide(world, "d3")
        await studio.register(document(NEW))
        world.config = studio.config
        await world.join(at_ms=world.deadline_ms)

        rewards = [made.reward for made in await world.transitions()]
        assert rewards == [1.0, 1.0, 5.0]  # d3 was open: its parts are known, and weighed anew
        [*_, newest] = (await studio.replay.after(studio.keys, "0-0", 10)).ids
        await learned_alone(studio, newest, refused=2)


async def test_what_a_joiner_totals_before_it_hears_of_the_change_is_not_learned_either(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_both(redis_url, tmp_path) as (world, studio), studio.learner():
        await decide(world, "d1")
        await studio.register(document(NEW))
        await world.join(at_ms=world.deadline_ms)  # under the old weights still
        await decide(world, "d2")
        world.config = studio.config
        await world.join(at_ms=world.deadline_ms)

        assert [made.reward for made in await world.transitions()] == [1.0, 5.0]
        [_, newest] = (await studio.replay.after(studio.keys, "0-0", 10)).ids
        await learned_alone(studio, newest, refused=1)


async def test_a_new_model_under_the_same_weights_learns_from_what_they_totalled(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_both(redis_url, tmp_path) as (world, studio), studio.learner():
        await decide(world, "d1", "d2")
        await world.join(at_ms=world.deadline_ms)
        await studio.learned(2)

        before = (await studio.meta()).lineage
        await studio.register(
            with_agent(document(OLD), policy_learner={"kind": "linear", "ridge": 2.0})
        )

        async def holds() -> bool:
            status, meta = await studio.status(), await studio.meta()
            return (status.lineage, status.experience) == (meta.lineage, 2)

        await eventually(holds, 20.0)
        assert (await studio.meta()).lineage == before + 1
        assert (await studio.status()).skipped == {}


async def test_limits_and_guards_change_while_the_model_goes_on(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_both(redis_url, tmp_path) as (world, studio), studio.learner():
        await decide(world, "d1")
        await world.join(at_ms=world.deadline_ms)
        await studio.learned(1)

        before = await studio.meta()
        await studio.register(document(OLD, guards=["complaints"], range=[-9, 9]))
        world.config = studio.config
        await decide(world, "d2")
        await world.join(at_ms=world.deadline_ms)
        await studio.learned(2)

        assert (await studio.meta()).lineage == before.lineage
        assert (await studio.status()).skipped == {}


async def test_a_reward_that_is_sent_again_after_the_change_is_the_same_reward(
    redis_url: str,
) -> None:
    async with open_world(redis_url, document(OLD)) as world:
        await decide(world, "d1")
        world.config = parse_policy(document(NEW))

        again = await world.reward("d1", None, reward_id="r", components=SENT)
        other = await world.reward("d1", None, reward_id="r", components={"click": 2.0})

        assert (again, other) == ("duplicate", "conflict")
