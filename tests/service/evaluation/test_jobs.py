"""Evaluations that are asked for over HTTP, and the worker that makes them; with a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from redis.asyncio import Redis

from service.errors import ServiceError
from service.evaluation.evaluate import evaluate
from service.evaluation.known import Known
from service.evaluation.repository import EvaluationRepository
from service.evaluation.runner import EvaluationRunner
from service.evaluation.schemas import EvaluationJob, EvaluationReport
from service.evaluation.targets import named
from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.service.evaluation.logs import Memory, ask, clicks
from tests.service.evaluation.shop import Shop, open_shop
from tests.support.policies import bandit
from tests.support.waiting import eventually

_KEYS = PolicyKeys("home")
_REPORT: EvaluationReport = evaluate(
    Memory(clicks(50, np.array([0.1, 0.1, 0.8]))), named("logged"), ask(), Known("a log")
)


@pytest.fixture
def jobs(redis_client: Redis) -> EvaluationRepository:
    return EvaluationRepository(redis_client)


async def _found(jobs: EvaluationRepository, job_id: str) -> EvaluationJob:
    job = await jobs.find(_KEYS, job_id)
    assert job is not None
    return job


# -- what Redis keeps --------------------------------------------------------------------------------


async def test_a_job_waits_runs_and_is_done(jobs: EvaluationRepository) -> None:
    request = ask("uniform", policy="home", baseline=0.25)

    job_id = await jobs.ask(_KEYS, request, "shop")
    queued = await _found(jobs, job_id)
    await jobs.begin(_KEYS, job_id)
    running = await _found(jobs, job_id)
    await jobs.report(_KEYS, job_id, _REPORT)
    done = await _found(jobs, job_id)

    assert job_id.startswith("home.")
    assert (queued.status, queued.request, queued.asked_by) == ("queued", request, "shop")
    assert (queued.started_at, queued.attempts, queued.report) == (None, 0, None)
    assert (running.status, running.attempts) == ("running", 1)
    assert running.started_at is not None
    assert (done.status, done.report, done.error) == ("done", _REPORT, "")
    assert done.finished_at is not None
    assert await jobs.current(_KEYS) is None


async def test_a_job_that_fails_says_why(jobs: EvaluationRepository) -> None:
    job_id = await jobs.ask(_KEYS, ask("uniform"), "shop")

    await jobs.fail(_KEYS, job_id, "no such log")

    job = await _found(jobs, job_id)
    assert (job.status, job.error, job.report) == ("failed", "no such log", None)
    assert await jobs.current(_KEYS) is None


async def test_jobs_are_taken_in_the_order_in_which_they_came(jobs: EvaluationRepository) -> None:
    first, second = [await jobs.ask(_KEYS, ask("uniform"), "shop") for _ in range(2)]

    begun = await jobs.current(_KEYS)
    await jobs.begin(_KEYS, first)
    again = await jobs.current(_KEYS)
    await jobs.fail(_KEYS, first, "why")
    following = await jobs.current(_KEYS)

    # One that a worker left behind is still the first.
    assert begun is not None
    assert again is not None
    assert following is not None
    assert (begun.job_id, again.job_id, following.job_id) == (first, first, second)
    assert {job.job_id for job in await jobs.list(_KEYS)} == {first, second}


async def test_too_many_jobs_are_refused(jobs: EvaluationRepository) -> None:
    for _ in range(100):
        await jobs.ask(_KEYS, ask("uniform"), "shop")

    with pytest.raises(ServiceError) as refused:
        await jobs.ask(_KEYS, ask("uniform"), "shop")

    assert refused.value.code == "TooManyRequests"
    # Another policy's are no reason.
    await jobs.ask(PolicyKeys("other"), ask("uniform"), "shop")


async def test_only_the_newest_jobs_are_listed(
    jobs: EvaluationRepository, redis_client: Redis
) -> None:
    job_id = ""
    for _ in range(210):
        job_id = await jobs.ask(_KEYS, ask("uniform"), "shop")
        await jobs.fail(_KEYS, job_id, "why")

    assert len(await jobs.list(_KEYS)) == 200
    assert len(await redis_client.keys("nacre:{home}:evaluation:*")) == 200
    assert await redis_client.pttl(f"nacre:{{home}}:evaluation:{job_id}") > 0


async def test_an_unknown_job_is_none(jobs: EvaluationRepository) -> None:
    assert await jobs.find(_KEYS, "home.unknown") is None


# -- the worker --------------------------------------------------------------------------------------


@pytest.fixture
async def shop(redis_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(redis_url, tmp_path) as one:
        yield one


def _runner(shop: Shop, jobs: EvaluationRepository, limit_s: float = 60.0) -> EvaluationRunner:
    return EvaluationRunner(jobs, shop.settings, lambda: [shop.keys], limit_s=limit_s)


async def _until(
    runner: EvaluationRunner, jobs: EvaluationRepository, job_id: str, status: str
) -> EvaluationJob:
    async def is_there() -> bool:
        await runner.step()
        return (await _found(jobs, job_id)).status == status

    await eventually(is_there, timeout_s=60)
    return await _found(jobs, job_id)


async def test_a_worker_evaluates_the_live_log_in_a_process_of_its_own(
    shop: Shop, jobs: EvaluationRepository
) -> None:
    await shop.trade(30)
    job_id = await jobs.ask(shop.keys, ask("home@1", constraints=["cost<=0.9"]), "shop")
    wrong = await jobs.ask(shop.keys, ask("uniform", estimators=["pdis", "dr"]), "shop")

    async with _runner(shop, jobs) as runner:
        job = await _until(runner, jobs, job_id, "done")
        refused = await _until(runner, jobs, wrong, "failed")
        idle_s = await runner.step()

    assert job.report is not None
    assert (job.report.rows, job.report.target, job.report.policy) == (30, "home@1", "home")
    assert job.report.constraints[0].value == pytest.approx(0.5)
    assert "worth different things" in refused.error
    assert idle_s == 1.0


async def test_a_job_that_no_command_line_can_ask_fails_and_harms_nobody(
    shop: Shop, jobs: EvaluationRepository
) -> None:
    job_id = await jobs.ask(shop.keys, ask("uniform\0"), "shop")

    async with _runner(shop, jobs) as runner:
        job = await _until(runner, jobs, job_id, "failed")

    assert "cannot be started" in job.error


async def test_a_report_that_cannot_be_read_fails_its_job(
    shop: Shop, jobs: EvaluationRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await jobs.ask(shop.keys, ask("uniform"), "shop")
    # An evaluation that ends well, and wrote nothing of sense.
    monkeypatch.setattr(
        "service.evaluation.runner.sys.executable", str(_script(shop.settings.archive))
    )

    async with _runner(shop, jobs) as runner:
        job = await _until(runner, jobs, job_id, "failed")

    assert "ended with code 0" in job.error


def _script(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "evaluate.sh"
    path.write_text("#!/bin/sh\necho '{\"value\": null}' > report.json\n")
    path.chmod(0o700)
    return path


async def test_a_job_whose_worker_died_is_run_again(shop: Shop, jobs: EvaluationRepository) -> None:
    job_id = await jobs.ask(shop.keys, ask("uniform"), "shop")
    async with _runner(shop, jobs) as runner:
        await runner.step()
        begun = await _found(jobs, job_id)

    left = await _found(jobs, job_id)
    async with _runner(shop, jobs) as runner:
        await runner.step()
        again = await _found(jobs, job_id)

    assert (begun.status, left.status, again.status) == ("running", "running", "running")
    assert (begun.attempts, again.attempts) == (1, 2)


async def test_a_job_that_never_ends_is_given_up(shop: Shop, jobs: EvaluationRepository) -> None:
    job_id = await jobs.ask(shop.keys, ask("uniform"), "shop")
    for _ in range(3):
        await jobs.begin(shop.keys, job_id)

    async with _runner(shop, jobs) as runner:
        await runner.step()

    job = await _found(jobs, job_id)
    assert (job.status, job.attempts) == ("failed", 3)
    assert "narrow it" in job.error


async def test_a_job_that_takes_too_long_is_ended(shop: Shop, jobs: EvaluationRepository) -> None:
    job_id = await jobs.ask(shop.keys, ask("uniform"), "shop")

    async with _runner(shop, jobs, limit_s=0.0) as runner:
        job = await _until(runner, jobs, job_id, "failed")

    assert "longer than 0 s" in job.error


async def test_policies_take_turns(shop: Shop, jobs: EvaluationRepository) -> None:
    other = PolicyKeys("other")
    first, second = [await jobs.ask(shop.keys, ask("uniform"), "shop") for _ in range(2)]
    foreign = await jobs.ask(other, ask("uniform"), "shop")
    for keys, job_id in ((shop.keys, first), (shop.keys, second), (other, foreign)):
        for _ in range(3):
            await jobs.begin(keys, job_id)

    async with EvaluationRunner(jobs, shop.settings, lambda: [shop.keys, other]) as runner:
        await runner.step()
        await runner.step()

    # Each is given up at once, as one that was begun three times.
    assert (await _found(jobs, first)).status == "failed"
    assert (await _found(jobs, second)).status == "running"
    given_up = await jobs.find(other, foreign)
    assert given_up is not None
    assert given_up.status == "failed"


# -- HTTP --------------------------------------------------------------------------------------------


async def test_an_evaluation_is_queued_and_can_be_found(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    answer = await api.post("/v1/evaluations", json={"target": "1", "delta": 0.1})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/evaluations/{job['job_id']}"
    assert (job["policy"], job["status"]) == ("home", "queued")
    assert job["request"]["delta"] == 0.1
    assert (await api.get(answer.headers["location"])).json() == job
    listed = await api.get("/v1/evaluations", params={"policy": "home"})
    assert listed.json() == {"evaluations": [job]}


async def test_a_finished_evaluation_has_a_report_and_a_page(
    api: httpx.AsyncClient, put: Put, jobs: EvaluationRepository
) -> None:
    await put(bandit())
    job_id = await jobs.ask(_KEYS, ask("uniform"), "shop")
    path = f"/v1/evaluations/{job_id}"
    before = await api.get(f"{path}/page")

    await jobs.report(_KEYS, job_id, _REPORT)

    assert before.status_code == 404
    assert (await api.get(path)).json()["report"]["verdict"] == _REPORT.verdict
    page = await api.get(f"{path}/page")
    assert page.headers["content-type"].startswith("text/html")
    assert _REPORT.verdict in page.text
    listed = await api.get("/v1/evaluations")
    assert listed.json()["evaluations"][0]["report"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"target": "9"}, "/target"),
        ({"target": "best"}, "/target"),
        ({"target": "1", "estimators": ["drr"]}, "/estimators"),
        ({"target": "1", "constraints": ["cost"]}, "/constraints"),
        ({"target": "1", "delta": 0.9}, "/delta"),
        ({"target": "1", "wieghts": {}}, "/wieghts"),
        ({"target": "1", "baseline": "good"}, "/baseline"),
    ],
)
async def test_a_wrong_field_is_named(
    api: httpx.AsyncClient, put: Put, body: dict[str, object], pointer: str
) -> None:
    await put(bandit())

    answer = await api.post("/v1/evaluations", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_an_unknown_evaluation_is_not_found(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    for path in ("home.unknown", "other.unknown", "x", "home.unknown/page"):
        assert (await api.get(f"/v1/evaluations/{path}")).status_code == 404
