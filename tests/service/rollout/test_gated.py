"""The gate in front of the canary: the evaluation queue is asked, and its answer obeyed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from service.evaluation.schemas import EvaluationJob
from tests.service.rollout.reports import report
from tests.support.rollouts import Stage
from tests.support.served import neural

Open = Callable[..., Awaitable[Stage]]
REWARDS = [0.2, 0.4] * 30


@pytest.fixture
def open_stage(redis_client: Redis, tmp_path: Path) -> Open:
    """The candidate 2 in the shadow, behind a gate that asks for 50 rows."""

    async def opened(**gate: Any) -> Stage:
        rule = {"margin": 0.1, "effective_rows": 50} | gate
        document = neural(rollout={"gate": rule, "steps": [{"share": 0.1}]})
        stage = Stage(redis_client, tmp_path, document)
        await stage.register()
        await stage.publish()
        await stage.start()
        await stage.turn()
        return stage

    return opened


async def asked(stage: Stage) -> EvaluationJob:
    """The only evaluation that waits."""
    job = await stage.evaluations.current(stage.keys)
    assert job is not None
    return job


async def test_the_candidate_is_evaluated_once_there_are_rewards(open_stage: Open) -> None:
    stage = await open_stage()
    early = await stage.turn()
    await stage.rewards("live", REWARDS)
    later = await stage.turn()

    job = await asked(stage)
    description = await stage.policies.version(stage.keys, 2)
    assert early is not None
    assert early.evaluation == ""
    assert later is not None
    assert (later.stage, later.evaluation) == ("shadow", job.job_id)
    assert (job.request.target, job.asked_by) == ("2", "rollout")
    assert job.request.baseline == pytest.approx(0.2)  # 0.3 less the margin
    assert description is not None
    assert job.request.since == description.made_at
    assert len(await stage.evaluations.list(stage.keys)) == 1


async def test_a_better_candidate_is_let_into_the_canary(open_stage: Open) -> None:
    stage = await open_stage()
    await stage.rewards("live", REWARDS)
    await stage.turn()
    job = await asked(stage)

    await stage.evaluations.begin(stage.keys, job.job_id)
    running = await stage.turn()
    await stage.evaluations.report(stage.keys, job.job_id, report("better", 0.5, lower=0.4))
    done = await stage.turn()

    assert running is not None
    assert running.stage == "shadow"
    assert done is not None
    assert (done.stage, done.share) == ("canary", 0.1)
    assert (await stage.events())[-1].why.startswith("lower bound 0.4 against 0.28")


async def test_one_that_is_surely_worse_is_stopped_there(open_stage: Open) -> None:
    stage = await open_stage()
    await stage.rewards("live", REWARDS)
    await stage.turn()
    job = await asked(stage)

    found = report("not shown to be better", 0.1, lower=0.0)
    await stage.evaluations.report(stage.keys, job.job_id, found)
    gone = await stage.turn()

    assert gone is None
    assert (await stage.meta()).live == 1
    last = (await stage.events())[-1]
    assert (last.detail["to"], last.detail["share"]) == ("retired", 0.0)
    assert "surely worse" in last.why


async def test_what_is_unclear_is_asked_again_when_the_log_has_grown(open_stage: Open) -> None:
    stage = await open_stage(growth=2)
    await stage.rewards("live", REWARDS)
    await stage.turn()
    first = await asked(stage)
    await stage.evaluations.report(stage.keys, first.job_id, report("not enough evidence"))

    unmoved = await stage.turn()
    await stage.rewards("live", REWARDS)
    stage.follower = stage.new_worker()  # what it was asked on is known to whoever takes over
    moved = await stage.turn()

    assert unmoved is not None
    assert unmoved.evaluation == first.job_id
    assert moved is not None
    assert (moved.stage, moved.evaluation) == ("shadow", (await asked(stage)).job_id)
    assert moved.evaluation != first.job_id


async def test_patience_with_a_candidate_ends(open_stage: Open) -> None:
    stage = await open_stage(patience_s=3600)

    still = await stage.turn(3_500_000)
    gone = await stage.turn(200_000)

    assert still is not None
    assert gone is None
    assert "out of patience" in (await stage.events())[-1].why


async def test_an_evaluation_that_failed_stops_nobody(open_stage: Open) -> None:
    stage = await open_stage()
    await stage.rewards("live", REWARDS)
    await stage.turn()
    job = await asked(stage)

    await stage.evaluations.fail(stage.keys, job.job_id, "the log is gone")
    still = await stage.turn()

    assert still is not None
    assert still.stage == "shadow"


async def test_a_report_that_nobody_can_read_is_asked_for_anew(open_stage: Open) -> None:
    stage = await open_stage()
    await stage.rewards("live", REWARDS)
    await stage.turn()
    job = await asked(stage)
    await stage.evaluations.report(stage.keys, job.job_id, report("better", 0.5))
    name = f"nacre:{{home}}:evaluation:{job.job_id}"
    await stage.client.hset(name, "report", b'{"verdict": "of another time"}')

    rollout = await stage.turn()

    assert rollout is not None
    assert rollout.evaluation not in ("", job.job_id)
