"""The worker drives rollouts: from the log to the head of the policy, in a real Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from service.policies.schemas import PolicyEvent
from service.repository import text
from service.rollout.logic import Moved, aborted
from service.rollout.moves import Mover
from tests.support.rollouts import Stage
from tests.support.served import neural

Open = Callable[..., Awaitable[Stage]]
STEPS = [{"share": 0.2, "at_least_s": 5}, {"share": 0.5, "at_least_s": 5}]
GOOD, BAD = [1.0, 0.9, 0.8] * 40, [0.1, 0.0, 0.2] * 40


@pytest.fixture
def open_stage(redis_client: Redis, tmp_path: Path) -> Open:
    """A policy whose version 1 is live and whose version 2 is a candidate."""

    async def opened(approval: dict[str, Any] | None = None, **rollout: Any) -> Stage:
        rule = {"gate": None, "steps": STEPS, "margin": 0.05, "least_rewards": 50} | rollout
        more: dict[str, Any] = {"approval": approval} if approval else {}
        stage = Stage(
            redis_client, tmp_path, neural(rollout=rule, learning={"auto_promote": False}, **more)
        )
        await stage.register()
        await stage.publish()
        return stage

    return opened


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"policy": "home", **labels})


async def in_the_canary(stage: Stage) -> None:
    await stage.start()
    assert await stage.turn()  # into the shadow
    rollout = await stage.turn()
    assert rollout is not None
    assert rollout.stage == "canary"
    await stage.turn()


async def test_a_candidate_that_is_better_goes_all_the_way(open_stage: Open) -> None:
    stage = await open_stage()
    await in_the_canary(stage)

    await stage.rewards("canary", GOOD)
    await stage.rewards("live", BAD)
    early = await stage.turn()
    second = await stage.turn(10_000)
    await stage.rewards("canary", GOOD)
    await stage.rewards("live", BAD)
    gone = await stage.turn(10_000)

    assert early is not None
    assert (early.step, early.share) == (0, 0.2)
    assert second is not None
    assert (second.step, second.share) == (1, 0.5)
    assert gone is None
    meta = await stage.meta()
    assert (meta.live, meta.previous) == (2, 1)
    reached = [event.detail["to"] for event in await stage.events()]
    assert reached == ["candidate", "shadow", "canary", "canary", "live"]
    assert [event.who for event in await stage.events()] == ["ana", *["rollout"] * 4]


async def test_a_candidate_that_is_worse_is_rolled_back(open_stage: Open) -> None:
    stage = await open_stage(quarantine=True)
    await in_the_canary(stage)

    await stage.rewards("canary", BAD)
    await stage.rewards("live", GOOD)
    gone = await stage.turn()

    assert gone is None
    assert (await stage.meta()).live == 1
    assert await stage.policies.quarantined(stage.keys) == {2}
    last = (await stage.events())[-1]
    assert last.detail["to"] == "retired"
    assert last.detail["numbers"]["reward_difference"] == pytest.approx(-0.8)
    assert "the canary is worse" in last.why
    assert stage.told[-1][:2] == ("rollout.moved", "home")
    assert gauge("nacre_rollout_stage", stage="retired") == 1


async def test_its_decisions_are_learned_from_unless_the_policy_says_otherwise(
    open_stage: Open,
) -> None:
    stage = await open_stage()
    await in_the_canary(stage)

    await stage.rewards("canary", BAD)
    await stage.rewards("live", GOOD)
    await stage.turn()

    assert await stage.policies.quarantined(stage.keys) == frozenset()


async def test_prometheus_sees_what_the_evidence_says(open_stage: Open) -> None:
    stage = await open_stage()
    await in_the_canary(stage)

    await stage.rewards("canary", GOOD)
    await stage.rewards("live", BAD)
    await stage.turn()

    assert gauge("nacre_canary_decision") == 1
    assert gauge("nacre_canary_share") == pytest.approx(0.2)
    assert gauge("nacre_canary_difference", metric="reward") == pytest.approx(0.8)
    assert 0 < (gauge("nacre_canary_radius", metric="reward") or 0) < 0.2
    assert gauge("nacre_rollout_stage", stage="canary") == 1


async def test_what_cannot_be_decided_waits_for_a_person(open_stage: Open) -> None:
    stage = await open_stage(margin=0.0, most_rewards=100)
    await in_the_canary(stage)

    await stage.rewards("canary", GOOD)
    await stage.rewards("live", GOOD)
    waiting = await stage.turn(10_000)
    still = await stage.turn(10_000)

    assert waiting is not None
    assert waiting.stage == "waiting"
    assert still == waiting
    assert gauge("nacre_canary_decision") == 2


async def test_a_trip_ends_the_canary(open_stage: Open) -> None:
    stage = await open_stage()
    await in_the_canary(stage)

    await stage.trip()
    gone = await stage.turn()

    assert gone is None
    assert (await stage.events())[-1].why == "the policy was tripped by reward"


async def test_a_worker_that_takes_over_has_the_same_evidence(open_stage: Open) -> None:
    stage = await open_stage()
    await in_the_canary(stage)
    await stage.rewards("canary", BAD[:60])
    await stage.rewards("live", GOOD[:60])
    stage.follower = stage.new_worker()
    await stage.turn()

    stage.follower = stage.new_worker()
    gone = await stage.turn()

    assert gone is None
    # 60 in each arm: neither lost nor counted twice.
    assert (await stage.events())[-1].detail["numbers"]["reward_rewards"] == 60


async def test_a_move_by_a_person_at_the_same_time_wins(open_stage: Open) -> None:
    stage = await open_stage()
    await in_the_canary(stage)
    await stage.rewards("canary", BAD)
    await stage.rewards("live", GOOD)
    seen = await stage.watched()

    # While the worker still sees the rollout, somebody makes its candidate live by hand.
    event = PolicyEvent(what="promote", who="ana", why="", at="")
    await stage.policies.point(stage.keys, 2, pin=False, quarantine=False, event=event)
    await stage.follower.follow(seen, stage.now_ms + 1_000)

    assert (await stage.meta()).live == 2
    assert (await stage.events())[-1].what == "promote"


async def test_a_move_that_was_decided_on_what_was_true_before_is_not_made(
    open_stage: Open,
) -> None:
    stage = await open_stage()
    await in_the_canary(stage)
    rollout = await stage.rollout()
    assert rollout is not None
    mover = Mover(stage.policies, stage.keys, await stage.meta(), "rollout", stage.now_ms)
    await mover.move(rollout, aborted("first"))

    is_made = await mover.move(rollout, Moved("live", None, "second"))

    assert not is_made
    assert (await stage.meta()).live == 1


# -- setting out by itself --------------------------------------------------------------------------


async def test_the_newest_candidate_sets_out_by_itself_where_that_is_declared(
    open_stage: Open,
) -> None:
    stage = await open_stage(is_automatic=True)
    await stage.publish()

    rollout = await stage.turn()

    assert rollout is not None
    assert (rollout.candidate, rollout.stage) == (3, "candidate")
    assert (await stage.events())[-1].why == "the newest candidate"


async def test_one_that_was_rolled_back_does_not_set_out_again(open_stage: Open) -> None:
    stage = await open_stage(is_automatic=True)
    await stage.turn()
    await stage.turn()
    await stage.turn()
    await stage.trip()
    assert await stage.turn() is None
    await stage.client.hdel(stage.keys.meta, "trip")  # it recovers

    idle = await stage.turn()
    await stage.publish()
    newer = await stage.turn()

    assert idle is None
    assert newer is not None
    assert newer.candidate == 3


async def test_nothing_sets_out_while_the_policy_is_pinned(open_stage: Open) -> None:
    stage = await open_stage(is_automatic=True)
    await stage.client.hset(stage.keys.meta, "pinned", "1")

    assert await stage.turn() is None


# -- approval of the promotion ----------------------------------------------------------------------


async def to_the_end(stage: Stage) -> None:
    """With evidence enough for all steps."""
    await in_the_canary(stage)
    await stage.rewards("canary", GOOD)
    await stage.rewards("live", BAD)
    await stage.turn(10_000)
    await stage.turn(10_000)


async def resolve(stage: Stage, state: str) -> None:
    """As a person does, without the endpoint."""
    rollout = await stage.rollout()
    assert rollout is not None
    name = f"nacre:{{home}}:approval:{rollout.approval}"
    assert text(await stage.client.hget(name, "state")) == "pending"
    await stage.client.hset(name, "state", state)


async def test_a_promotion_waits_for_the_approval_that_the_policy_declares(
    open_stage: Open,
) -> None:
    stage = await open_stage(approval={"promotions": True})
    await to_the_end(stage)

    waiting = await stage.turn()
    before = await stage.meta()
    await resolve(stage, "approved")
    gone = await stage.turn()

    assert waiting is not None
    assert (waiting.stage, waiting.share) == ("waiting", 0.5)
    assert before.live == 1
    assert gone is None
    assert (await stage.meta()).live == 2


async def test_a_promotion_that_is_rejected_is_the_end(open_stage: Open) -> None:
    stage = await open_stage(approval={"promotions": True})
    await to_the_end(stage)

    await resolve(stage, "rejected")
    gone = await stage.turn()

    assert gone is None
    assert (await stage.meta()).live == 1
    assert (await stage.events())[-1].why == "the promotion was not approved"


async def test_an_approval_does_not_hold_for_another_snapshot(
    open_stage: Open, tmp_path: Path
) -> None:
    stage = await open_stage(approval={"promotions": True})
    await to_the_end(stage)
    await resolve(stage, "approved")

    (tmp_path / "artefacts" / "home" / "2" / "manifest.json").write_bytes(b"{}")
    gone = await stage.turn()

    assert gone is None
    assert (await stage.meta()).live == 1
    assert "not the one that was approved" in (await stage.events())[-1].why


async def test_a_worker_that_died_between_using_an_approval_and_the_promotion_goes_on(
    open_stage: Open,
) -> None:
    stage = await open_stage(approval={"promotions": True})
    await to_the_end(stage)
    await resolve(stage, "approved")
    rollout = await stage.rollout()
    assert rollout is not None

    await stage.promotions.use(stage.keys, rollout.approval, who="rollout")
    gone = await stage.turn()

    assert gone is None
    assert (await stage.meta()).live == 2
