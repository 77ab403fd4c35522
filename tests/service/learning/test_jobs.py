"""Learn jobs, carried out by a learner on a real Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.policies import bandit, sequential, with_agent
from tests.support.processes import Children
from tests.support.training import open_studio, start_learner
from tests.support.waiting import eventually

QUICK: dict[str, Any] = {"publish_every_s": 0.02, "checkpoint_every_s": 0.05}
ON_REQUEST: dict[str, Any] = QUICK | {"continuous": False}
ONE_BY_ONE: dict[str, Any] = {"updates_at_once": 1}


def on_request(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"learning": ON_REQUEST}


async def test_a_policy_that_learns_on_request_learns_in_jobs_only(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, on_request(bandit())) as studio, studio.learner():
        ids = await studio.append(studio.made_up(30))
        await studio.ask()
        report = await studio.ended()
        await studio.append(studio.made_up(10, seed=1))

        assert (report.status, report.verdict, report.candidate) == ("done", "candidate", 2)
        assert report.data is not None
        assert (report.data.after, report.data.last, report.data.transitions) == (
            "0-0",
            ids[-1],
            30,
        )
        assert (await studio.meta()).live == 1
        assert [one.experience for one in await studio.versions()] == [0, 30]


async def test_a_job_for_live_promotes_what_it_made(redis_url: str, tmp_path: Path) -> None:
    async with open_studio(redis_url, tmp_path, on_request(bandit())) as studio, studio.learner():
        await studio.append(studio.made_up(30))
        await studio.ask(promote="live")
        report = await studio.ended()

        assert report.verdict == "live"
        assert (await studio.meta()).live == report.candidate


async def test_a_job_stops_exactly_at_the_number_of_new_transitions(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, on_request(bandit())) as studio, studio.learner():
        await studio.append(studio.made_up(130))
        await studio.ask("one", new_transitions=100)
        first = await studio.ended("one")
        await studio.ask("two", new_transitions=100)
        await studio.append(studio.made_up(200, seed=1))
        second = await studio.ended("two")

        assert first.data is not None
        assert second.data is not None
        assert (first.data.transitions, second.data.transitions) == (100, 100)
        assert second.data.after == first.data.last
        assert [one.experience for one in await studio.versions()] == [0, 100, 200]


async def test_a_job_publishes_what_it_has_when_its_time_is_over(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, on_request(bandit())) as studio, studio.learner():
        await studio.append(studio.made_up(30))
        await studio.ask(new_transitions=1000, max_seconds=0.5)
        report = await studio.ended()

        assert report.verdict == "candidate, out of time"
        assert report.data is not None
        assert report.data.transitions == 30


async def test_a_job_with_nothing_to_learn_publishes_nothing(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, on_request(bandit())) as studio, studio.learner():
        await studio.ask()
        report = await studio.ended()

        assert (report.status, report.verdict) == ("done", "nothing_to_learn")
        assert report.candidate is None
        assert len(await studio.versions()) == 1


async def test_a_job_makes_the_steps_that_it_was_asked_for(redis_url: str, tmp_path: Path) -> None:
    """100 transitions with 64 of warm-up make 36 updates; the job asks for 50 more."""
    document = on_request(with_agent(sequential(), schedule=ONE_BY_ONE))
    async with open_studio(redis_url, tmp_path, document) as studio, studio.learner():
        await studio.append(studio.made_up(100))
        await studio.ask(max_steps=50)
        report = await studio.ended()

        assert report.metrics["updates"] == 86
        assert "loss" in report.metrics
        assert (await studio.versions())[-1].updates == 86


async def test_a_dry_run_says_what_there_is_and_learns_nothing(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, on_request(bandit())) as studio, studio.learner():
        ids = await studio.append(studio.made_up(30))
        ids += await studio.append(studio.made_up(3), schema="fs:other")
        await studio.ask(dry_run=True)
        report = await studio.ended()

        assert (report.status, report.verdict, report.candidate) == ("done", "dry_run", None)
        assert report.data is not None
        assert (report.data.last, report.data.transitions) == (ids[-1], 30)
        assert report.skipped == {"schema": 3}
        assert (await studio.status()).experience == 0


async def test_a_policy_that_learns_all_the_time_takes_jobs_too(
    redis_url: str, tmp_path: Path
) -> None:
    document = with_agent(sequential(), schedule=ONE_BY_ONE) | {"learning": QUICK}
    async with open_studio(redis_url, tmp_path, document) as studio, studio.learner():
        await studio.append(studio.made_up(80))
        await studio.learned(80)
        await studio.ask(new_transitions=20, max_steps=5, promote="live")
        await studio.append(studio.made_up(20, seed=1))
        report = await studio.ended()
        await studio.append(studio.made_up(10, seed=2))
        await studio.learned(110)

        assert report.data is not None
        assert report.data.transitions == 20
        assert (await studio.versions())[-1].updates == 110 - 64 + 5


async def test_a_job_of_a_policy_that_was_started_anew_is_cancelled(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_studio(redis_url, tmp_path, on_request(bandit())) as studio:
        async with studio.learner():
            await studio.ask(new_transitions=10)

            async def runs() -> bool:
                return (await studio.report()).status == "running"

            await eventually(runs)
            flatter = {"kind": "linear", "interactions": False}
            await studio.register(on_request(with_agent(bandit(), policy_learner=flatter)))
            report = await studio.ended()

        assert (report.status, report.verdict) == ("cancelled", "the policy was started anew")


@pytest.mark.faults
async def test_a_job_survives_the_learner_and_its_steps_are_made_once(
    redis_url: str, tmp_path: Path, children: Children
) -> None:
    """Killed between the extra updates: the next learner begins them again, from before the first."""
    document = on_request(with_agent(sequential(), schedule=ONE_BY_ONE))
    async with open_studio(redis_url, tmp_path, document) as studio:
        await studio.append(studio.made_up(100))
        child = start_learner(children, studio)
        await studio.ask(max_steps=600)

        async def is_at_it() -> bool:
            return (await studio.status()).updates > 60

        await eventually(is_at_it, 30.0)
        child.kill()
        assert (await studio.report()).status == "running"
        last = start_learner(children, studio)
        report = await studio.ended(timeout_s=60.0)
        assert last.terminate() == 0

        assert report.status == "done"
        assert report.metrics["updates"] == 636
        assert (await studio.versions())[-1].updates == 636
