"""A learner that is killed continues bit-exactly: the same stream, the same weights."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from agent_core.snapshot import TrainingCheckpoint
from tests.support.policies import featured, sequential
from tests.support.processes import Child, Children
from tests.support.training import Studio, open_studio, start_learner
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults
QUICK = {"publish_every_s": 0.1, "checkpoint_every_s": 0.1}


async def more_than(studio: Studio, experience: int, child: Child) -> None:
    async def holds() -> bool:
        assert child.exit_code is None, child.output()
        return (await studio.status()).experience > experience

    await eventually(holds, 30.0)


@pytest.mark.parametrize(
    ("document", "kills"), [(sequential(), 2), (featured(), 1)], ids=["dqn", "neural_linear"]
)
async def test_killed_again_and_again_the_weights_are_those_of_an_undisturbed_run(
    redis_url: str, tmp_path: Path, children: Children, document: dict[str, object], kills: int
) -> None:
    dice = random.Random(1)
    async with open_studio(redis_url, tmp_path, document | {"learning": QUICK}) as studio:
        await studio.append(studio.made_up(400))

        for kill in range(kills):
            child = start_learner(children, studio)
            await more_than(studio, 50 + 150 * kill + dice.randrange(100), child)
            child.kill()
            await studio.append(studio.made_up(100, seed=kill + 1))
        last = start_learner(children, studio)
        await studio.learned(400 + 100 * kills, timeout_s=60.0)
        assert last.terminate() == 0

        assert await studio.checkpointed() == await studio.undisturbed(tmp_path / "calm")
        await published_equals_checkpoint(studio)


async def published_equals_checkpoint(studio: Studio) -> None:
    checkpoint = TrainingCheckpoint.load_latest(await studio.folder())
    assert checkpoint is not None
    newest = (await studio.versions())[-1]
    assert newest.last == checkpoint.position
    weights = studio.artefacts.load(studio.config.policy, newest.version).weights
    assert weights
    for name, tensor in weights.items():
        assert torch.equal(tensor, checkpoint.state[f"policy.{name}"])
