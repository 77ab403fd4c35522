"""The learner as several processes of torchrun, on a real Redis."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from service.learning.schemas import LearnerStatus
from service.learning.training import PolicyTraining
from tests.support.policies import bandit, sequential
from tests.support.processes import Child, Children
from tests.support.training import CPU, Studio, open_studio, start_ranks
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults

SLOW_START_S = 60.0


def process_of(torchrun: Child, rank: int) -> int:
    """The process id of one of its ranks."""
    tasks = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children")
    told = {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in tasks.read_text().split()}
    (found,) = [pid for pid, one in told.items() if f"\0RANK={rank}\0".encode() in one]
    return int(found)


async def learned(studio: Studio, count: int, torchrun: Child) -> LearnerStatus:
    """What the learner says once it has learned from `count` transitions, or from more."""

    async def holds() -> bool:
        assert torchrun.exit_code is None, torchrun.output()
        return (await studio.status()).experience >= count

    await eventually(holds, SLOW_START_S)
    return await studio.status()


async def refused(studio: Studio) -> str:
    async def holds() -> bool:
        return bool((await studio.status()).refused)

    await eventually(holds, SLOW_START_S)
    return (await studio.status()).refused


async def assert_learned_what_one_process_learns(studio: Studio, together: PolicyTraining) -> None:
    """Everything once and in order: the counters to the digit, the weights up to rounding."""
    alone = PolicyTraining(studio.config, CPU)
    alone.take(await studio.replay.after(studio.keys, "0-0", 1_000_000), frozenset())
    assert together.progress == alone.progress
    assert (together.experience, together.updates) == (alone.experience, alone.updates)
    weights = together.policy.state_dict()
    for name, weight in alone.policy.state_dict().items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-4, atol=1e-5)


async def test_after_a_killed_rank_all_begin_again_at_the_checkpoint(
    redis_url: str, tmp_path: Path, children: Children
) -> None:
    """It dies in the middle of updates, and torchrun may start the group once again. When one dies after that, the
    others do not wait for it: all end."""
    document = sequential() | {"learning": {"publish_every_s": 0.1, "checkpoint_every_s": 0.1}}
    async with open_studio(redis_url, tmp_path, document) as studio:
        # Made up from seed 0, a unit is active by a hair on one kind of CPU: there one process, too, whose weights are
        # moved by 1e-7, ends 7e-4 away. From seed 3 the ranks and one process end 2e-7 apart.
        await studio.append(studio.made_up(1200, seed=3))
        torchrun = start_ranks(children, studio, "--nproc-per-node=2", "--max-restarts=1")
        before = await learned(studio, 100, torchrun)
        os.kill(process_of(torchrun, 1), signal.SIGKILL)
        await studio.append(studio.made_up(40, seed=1))

        await learned(studio, 1240, torchrun)
        os.kill(process_of(torchrun, 1), signal.SIGKILL)

        assert torchrun.wait(20.0) != 0
        assert before.experience < 1200, "it was killed in the middle"
        assert (await studio.versions())[-1].experience == 1240
        resumed = PolicyTraining.resume(studio.config, CPU, await studio.folder())
        position = resumed.progress.position
        resumed.take(await studio.replay.after(studio.keys, position, 1000), frozenset())
        await assert_learned_what_one_process_learns(studio, resumed)


async def test_asked_to_stop_they_keep_what_they_learned(
    redis_url: str, tmp_path: Path, children: Children
) -> None:
    """And a policy that several cannot train is refused, while the others are trained."""
    seldom = {"publish_every_s": 0.1, "checkpoint_every_s": 1000}
    async with (
        open_studio(redis_url, tmp_path, sequential() | {"learning": seldom}) as studio,
        open_studio(redis_url, tmp_path, bandit()) as linear,
    ):
        await studio.append(studio.made_up(200))
        torchrun = start_ranks(children, studio, "--nproc-per-node=2")
        await learned(studio, 200, torchrun)
        refusal = await refused(linear)

        torchrun.terminate(20.0)

        assert refusal.endswith("train it in one process")
        resumed = PolicyTraining.resume(studio.config, CPU, await studio.folder())
        assert resumed.experience == 200
        await assert_learned_what_one_process_learns(studio, resumed)
