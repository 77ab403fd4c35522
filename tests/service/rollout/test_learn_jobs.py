"""A learn job may send what it made on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.learning.schemas import Promotion
from service.policies import head
from tests.support.policies import bandit
from tests.support.training import open_studio

ON_REQUEST: dict[str, Any] = {
    "learning": {"publish_every_s": 0.02, "checkpoint_every_s": 0.05, "continuous": False}
}


@pytest.mark.parametrize(
    ("promote", "stage", "share"), [("gate", "candidate", 0.0), ("canary", "canary", 0.01)]
)
async def test_the_candidate_sets_out_where_the_job_says(
    redis_url: str, tmp_path: Path, promote: Promotion, stage: str, share: float
) -> None:
    async with (
        open_studio(redis_url, tmp_path, bandit() | ON_REQUEST) as studio,
        studio.learner(),
    ):
        await studio.append(studio.made_up(30))
        await studio.ask(promote=promote)
        report = await studio.ended()
        meta = await studio.meta()

    rollout = head.read_rollout(meta.rollout)
    assert rollout is not None
    assert report.verdict == f"candidate, rollout begun at the {promote}"
    assert (rollout.candidate, rollout.stage, rollout.share) == (report.candidate, stage, share)
    assert meta.live == 1


async def test_a_second_candidate_waits_and_the_job_says_why(
    redis_url: str, tmp_path: Path
) -> None:
    async with (
        open_studio(redis_url, tmp_path, bandit() | ON_REQUEST) as studio,
        studio.learner(),
    ):
        await studio.append(studio.made_up(30))
        await studio.ask("one", promote="gate")
        await studio.ended("one")
        await studio.append(studio.made_up(30, seed=1))
        await studio.ask("two", promote="gate")
        report = await studio.ended("two")

    assert report.verdict is not None
    assert report.verdict.startswith("candidate, no rollout: version 2 is on its way")
