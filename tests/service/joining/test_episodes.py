"""Steps of episodes learn from the step that follows (failure table row 37)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from agent_core.types import Transition
from service.decisions.schemas import Observation
from service.feedback.repository import SEAL
from service.feedback.schemas import EpisodeEnd
from service.joining.repository import Park
from tests.support.ledgers import World, open_world
from tests.support.policies import bandit, sequential, with_agent

END = msgspec.msgpack.encode(EpisodeEnd(Observation(vector=[9.0, 9.0]), ["left"]))
BOTH = ["left", "right"]


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    """A sequential policy: rewards may come for 60 s, an episode is idle after 60 s."""
    async with open_world(redis_url, sequential()) as world:
        yield world


async def step(world: World, number: int, episode: str = "e", **about: Any) -> str:
    """Decides step `number`, seen as [number, 0]; its final reward is its number."""
    name = f"{episode}.{number}"
    reply = await world.decide(
        name,
        actions=BOTH,
        action="left",
        observation=[float(number), 0.0],
        episode=(episode, number),
        **about,
    )
    await world.reward(name, float(number), final=True)
    return str((reply[0] if isinstance(reply, list) else reply).decode())


async def ends(world: World) -> dict[str, str]:
    """How each learned step ended, by decision id."""
    return {made.decision_id: _end_of(made) for made in await world.transitions()}


def _end_of(made: Transition) -> str:
    assert made.terminated == (made.next_state is None)
    if made.next_state is None:
        return "terminated"
    return "truncated" if made.truncated else f"then {made.next_state[0]:g}"


async def test_the_next_decision_is_what_follows(world: World) -> None:
    await step(world, 0)
    await step(world, 1)
    await world.seal("e", "terminated")

    await world.join()

    assert await ends(world) == {"e.0": "then 1", "e.1": "terminated"}


async def test_what_was_done_next_and_where_comes_with_each_step(world: World) -> None:
    """Step 1 took right, which is position 1; the last step was followed by nothing."""
    await step(world, 0)
    await world.decide("e.1", actions=BOTH, action="right", episode=("e", 1))
    await world.reward("e.1", 1.0, final=True)
    await world.seal("e", "truncated", END)

    await world.join()

    made = await world.transitions()
    assert [(one.episode_id, one.step, one.next_action) for one in made] == [
        ("e", 0, 1),
        ("e", 1, None),
    ]


async def test_the_next_actions_are_those_that_could_be_taken_next(redis_url: str) -> None:
    """Of left, right and wait the next caller excluded right, and safety denies wait."""
    ids = ["left", "right", "wait"]
    document = with_agent(
        sequential(),
        action_representation={"kind": "one_hot", "ids": ids},
        safety={"kind": "action_filter", "denied": ["wait"]},
    )
    async with open_world(redis_url, document) as world:
        await step(world, 0)
        await world.decide(
            "e.1", actions=ids, action="left", excluded_actions=["right"], episode=("e", 1)
        )

        await world.join()

        [made] = await world.transitions()
        assert made.next_actions is not None
        assert made.next_actions.ids == ("left",)


async def test_a_step_waits_for_what_follows_it(world: World) -> None:
    await step(world, 0)
    early = await world.join()
    await step(world, 1)

    late = await world.join()

    assert (early, late) == (0, 1)
    assert await ends(world) == {"e.0": "then 1"}


async def test_a_step_whose_window_is_open_waits_although_the_next_one_came(world: World) -> None:
    await world.decide("e.0", actions=BOTH, action="left", episode=("e", 0))
    await world.reward("e.0", 1.0)
    await step(world, 1)

    early = await world.join()
    late = await world.join(at_ms=world.deadline_ms)

    assert (early, late) == (0, 1)


async def test_a_truncated_end_that_was_seen_bootstraps(world: World) -> None:
    await step(world, 0)
    await world.seal("e", "truncated", END)

    await world.join()

    [made] = await world.transitions()
    assert (made.terminated, made.truncated) == (False, True)
    assert made.next_state is not None
    assert made.next_state.tolist() == [9.0, 9.0]
    assert made.next_actions is not None
    assert made.next_actions.ids == ("left",)


@pytest.mark.parametrize("status", ["truncated", "abandoned"])
async def test_an_end_that_nobody_saw_is_counted_and_not_learned(world: World, status: str) -> None:
    await step(world, 0)
    await step(world, 1)
    await world.seal("e", status)

    await world.join()

    assert await ends(world) == {"e.0": "then 1"}
    assert (await world.counts())["no_successor"] == 1


async def test_an_idle_episode_is_sealed_and_an_active_one_is_not(world: World) -> None:
    await step(world, 0, "idle")
    world.now_ms += 59_000
    await step(world, 0, "active")
    world.now_ms += 1_000

    sealed = await world.seal_idle()
    await world.join()

    assert sealed == 1
    assert (await world.state("idle.0"), await world.state("active.0")) == ("no_successor", "open")
    assert await step(world, 1, "active") == "new"


async def test_an_episode_that_stirs_while_it_is_being_sealed_is_left_alone(world: World) -> None:
    """The worker has read that it is idle; before it writes, another step arrives."""
    keys = world.keys
    await step(world, 0)
    seen_ms, world.now_ms = world.now_ms, world.now_ms + 60_000
    await step(world, 1)

    touched = (keys.episode_prefix + "e", keys.episodes, keys.log, keys.due)
    reply = await world.client.eval(
        SEAL.text, 4, *touched, "e", "truncated", "", world.now_ms, b"", 60_000, seen_ms
    )

    assert reply == b"active"
    assert await step(world, 2) == "new"


async def test_a_step_that_arrives_while_the_one_before_is_being_parked_wakes_it(
    world: World,
) -> None:
    await step(world, 0)
    [read] = await world.joins.lives(world.keys, [b"e.0"])
    await step(world, 1)

    asleep = Park(read, world.now_ms + 60_000, "e", 1)
    stale = await world.joins.write(world.keys, [asleep], 60_000)

    assert stale == [0]
    assert await world.join() == 1


async def test_a_gap_is_counted_once_the_episode_is_over(world: World) -> None:
    """Steps 0 and 2 came, 1 never did."""
    await step(world, 0)
    await step(world, 2)
    await world.join()
    await world.seal("e", "terminated")

    await world.join(at_ms=world.now_ms + 60_000)

    assert await ends(world) == {"e.2": "terminated"}
    assert await world.state("e.0") == "no_successor"


async def test_steps_may_arrive_in_any_order(world: World) -> None:
    for number in (2, 0, 3, 1):
        await step(world, number)
    await world.seal("e", "terminated")

    await world.join()

    assert await ends(world) == {
        "e.0": "then 1",
        "e.1": "then 2",
        "e.2": "then 3",
        "e.3": "terminated",
    }


async def test_a_step_that_is_taken_belongs_to_its_first_decision(world: World) -> None:
    await step(world, 0)

    reply = await world.decide("other", actions=BOTH, action="left", episode=("e", 0))

    assert reply == [b"step_taken", b"e.0"]
    assert await world.state("other") == "gone"


async def test_a_sealed_episode_takes_no_steps(world: World) -> None:
    await step(world, 0)
    await world.seal("e", "terminated")

    assert await step(world, 1) == "sealed"
    assert await world.seal("e", "truncated") == "conflict"
    assert await world.seal("e", "terminated") == "already"


async def test_an_episode_without_steps_cannot_be_sealed(world: World) -> None:
    assert await world.seal("empty", "terminated") == "unknown"


async def test_a_step_that_was_never_shown_still_says_what_followed_the_one_before(
    world: World,
) -> None:
    await step(world, 0)
    await step(world, 1, activated=False)
    await world.seal("e", "terminated")

    await world.join(at_ms=world.deadline_ms)

    assert await ends(world) == {"e.0": "then 1"}
    assert await world.state("e.1") == "not_activated"


async def test_a_next_step_that_cannot_be_read_costs_one_transition(world: World) -> None:
    """(failure table row 16)"""
    await step(world, 0)
    await world.write(world.decision("e.1", actions=BOTH, episode=("e", 1)), body=b"garbage")

    await world.join()

    assert await world.state("e.0") == "no_successor"


async def test_a_next_step_with_other_features_teaches_nothing_about_this_one(
    world: World, redis_url: str
) -> None:
    """(failure table row 20): the policy got longer observations in the middle of the episode."""
    longer = with_agent(sequential(), observation={"kind": "vector", "dim": 3})
    await step(world, 0)
    async with open_world(redis_url, longer) as changed:
        seen = [1.0, 2.0, 3.0]
        await changed.decide("e.1", actions=BOTH, action="left", observation=seen, episode=("e", 1))

        await changed.join()

    assert await world.state("e.0") == "no_successor"


async def test_a_policy_without_episodes_does_not_wait_for_the_next_step(redis_url: str) -> None:
    async with open_world(redis_url, bandit()) as world:
        await world.decide("d", episode=("e", 0))
        await world.reward("d", 1.0, final=True)

        await world.join()

        assert await ends(world) == {"d": "terminated"}


async def test_an_episode_is_gone_when_nobody_can_need_it(world: World) -> None:
    await step(world, 0)
    open_ms = await world.client.pttl(world.keys.episode_prefix + "e")
    await world.seal("e", "terminated")

    kept_ms = await world.client.pttl(world.keys.episode_prefix + "e")

    assert open_ms == -1
    assert 60_000 < kept_ms <= 60_000 + 86_400_000


async def test_a_thousand_interleaved_episodes_learn_every_step_once(world: World) -> None:
    """(failure table row 37): 1,000 episodes of 1 to 3 steps; each ends in one of four ways, and
    steps of all of them arrive in a random order."""
    draw = random.Random(37)
    lengths = {f"e{at}": draw.randint(1, 3) for at in range(1000)}
    arrivals = [(name, number) for name, length in lengths.items() for number in range(length)]
    draw.shuffle(arrivals)
    ways = ("terminated", "truncated", "abandoned", "idle")
    expected = {}

    for at, (name, number) in enumerate(arrivals):
        await step(world, number, name)
        if at % 400 == 0:
            await world.join()
    for at, (name, length) in enumerate(lengths.items()):
        way = ways[at % 4]
        if way != "idle":
            await world.seal(name, way, END if way == "truncated" else b"")
        for number in range(length - 1):
            expected[f"{name}.{number}"] = f"then {number + 1}"
        if way in ("terminated", "truncated"):
            expected[f"{name}.{length - 1}"] = way
    world.now_ms += 60_000
    sealed = await world.seal_idle()
    await world.join()

    made = await world.transitions()
    assert sealed == 250
    assert len(made) == len(expected)
    assert await ends(world) == expected
    assert (await world.counts())["no_successor"] == 500
    assert await world.client.zcard(world.keys.due) == 0
