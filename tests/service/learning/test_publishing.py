"""Making versions: never a bad one, never one too many, and never one of a model that is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import torch
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from agent_core.errors import SnapshotError
from service.learning.model import Model, Place
from service.learning.publisher import Publisher, RestartedError
from service.policies.schemas import PolicyEvent
from tests.support.policies import bandit, sequential, with_agent
from tests.support.training import CPU, Studio, open_studio

NOBODY: frozenset[int] = frozenset()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ThreadPoolExecutor(1) as arithmetic:
        yield Place(arithmetic, CPU, tmp_path / "checkpoints")


async def model_of(studio: Studio, place: Place) -> Model:
    lineage = (await studio.meta()).lineage
    publisher = Publisher(studio.policies, studio.learning, studio.artefacts, studio.keys, lineage)
    return await Model.open(place, studio.config, lineage, publisher)


@asynccontextmanager
async def trained(
    redis_url: str, place: Place, folder: Path, document: dict[str, object], count: int = 70
) -> AsyncIterator[tuple[Studio, Model]]:
    async with open_studio(redis_url, folder, document) as studio:
        model = await model_of(studio, place)
        await studio.append(studio.made_up(count))
        await model.learn(await studio.replay.after(studio.keys, "0-0", count), NOBODY)
        yield studio, model


def spoil(model: Model) -> None:
    """What a bug or a broken machine might do."""
    with torch.no_grad():
        next(iter(model.training.policy.parameters()))[0] = float("nan")


def refusals() -> float:
    labels = {"policy": "cart", "reason": "non_finite"}
    return REGISTRY.get_sample_value("nacre_versions_refused_total", labels) or 0.0


async def test_weights_that_are_no_numbers_are_never_published_nor_kept(
    redis_url: str, place: Place, tmp_path: Path
) -> None:
    async with trained(redis_url, place, tmp_path, sequential()) as (studio, model):
        await model.publish(promote=True)
        await model.save()
        spoil(model)
        refused = refusals()

        with capture_logs() as logs:
            assert await model.publish(promote=True) is None
            assert await model.publish(promote=True) is None
            await model.save()

        assert refusals() == refused + 2
        assert [entry["event"] for entry in logs] == ["weights_not_finite"]
        assert model.refusal == "non_finite"
        assert [one.version for one in await studio.versions()] == [1, 2]
        assert (await studio.meta()).live == 2
        # The checkpoint before still stands: a mended configuration can go on from it.
        assert (await model_of(studio, place)).training.is_finite()


async def test_the_newest_twenty_the_live_one_and_the_way_back_are_kept(
    redis_url: str, place: Place, tmp_path: Path
) -> None:
    document = bandit(learning={"keep_versions": 20})
    async with trained(redis_url, place, tmp_path, document) as (studio, model):
        event = PolicyEvent(what="promote", who="test", why="", at="now", detail={})
        for _ in range(3):
            await model.publish(promote=True)
        await studio.policies.point(studio.keys, 2, pin=True, quarantine=False, event=event)
        for _ in range(20 + 2):
            await model.publish(promote=True)

        # 1 untrained + 3 + 22 = 26 versions; 7 to 26 are the newest; 2 is live and 4 was before it.
        expected = [2, 4, *range(7, 27)]
        assert [one.version for one in await studio.versions()] == expected
        folders = (studio.settings.artefacts / "home").iterdir()
        assert sorted(int(folder.name) for folder in folders) == expected


async def test_files_that_a_crash_left_behind_are_swept_away(
    redis_url: str, place: Place, tmp_path: Path
) -> None:
    """The process died after it wrote version 2 and before it told Redis."""
    document = bandit(learning={"keep_versions": 20})
    async with trained(redis_url, place, tmp_path, document) as (studio, model):
        lost = await studio.policies.next_version(studio.keys)
        studio.artefacts.save("home", lost, model.training.snapshot(lost, 1, "now"))
        for _ in range(20 + 1):
            await model.publish(promote=True)

        with pytest.raises(SnapshotError):
            studio.artefacts.load("home", lost)


async def test_a_number_whose_files_exist_is_not_used_again(
    redis_url: str, place: Place, tmp_path: Path
) -> None:
    async with trained(redis_url, place, tmp_path, bandit()) as (studio, model):
        studio.artefacts.save("home", 2, model.training.snapshot(2, 1, "now"))

        made = await model.publish(promote=True)

        assert made is not None
        assert made[0].version == 3


async def test_a_model_whose_policy_was_started_anew_publishes_nothing(
    redis_url: str, place: Place, tmp_path: Path
) -> None:
    async with trained(redis_url, place, tmp_path, bandit()) as (studio, model):
        flatter = {"kind": "linear", "interactions": False}
        await studio.register(with_agent(bandit(), policy_learner=flatter))

        with pytest.raises(RestartedError):
            await model.publish(promote=True)

        assert [one.version for one in await studio.versions()] == [1, 2]
        assert not (studio.settings.artefacts / "home" / "3").exists()


async def test_a_pinned_policy_gets_versions_and_serves_none_of_them(
    redis_url: str, place: Place, tmp_path: Path
) -> None:
    document = bandit(learning={"keep_versions": 20})
    async with trained(redis_url, place, tmp_path, document) as (studio, model):
        event = PolicyEvent(what="promote", who="test", why="", at="now", detail={})
        await studio.policies.point(studio.keys, 1, pin=True, quarantine=False, event=event)

        made = await model.publish(promote=True)

        assert made is not None
        assert made[1] == "pinned"
        assert (await studio.meta()).live == 1


async def test_after_a_restart_nothing_is_published_that_knows_less_than_what_is_live(
    redis_url: str, place: Place, tmp_path: Path
) -> None:
    """The checkpoint is from before the version: what lies between is read again first."""
    async with trained(redis_url, place, tmp_path, bandit(), count=5) as (studio, model):
        await model.save()
        await studio.append(studio.made_up(5, seed=1))
        position = model.training.progress.position
        await model.learn(await studio.replay.after(studio.keys, position, 10), NOBODY)
        await model.publish(promote=True)

        again = await model_of(studio, place)
        assert again.training.experience == 5
        await again.learn(await studio.replay.after(studio.keys, position, 4), NOBODY)
        assert again.publishes_in_s == float("inf")
        position = again.training.progress.position
        await again.learn(await studio.replay.after(studio.keys, position, 10), NOBODY)
        assert again.publishes_in_s == float("inf")  # it knows as much, and no more
        [entry] = await studio.append(studio.made_up(1, seed=2))
        position = again.training.progress.position
        await again.learn(await studio.replay.after(studio.keys, position, 10), NOBODY)

        assert again.training.progress.last == entry
        assert again.publishes_in_s <= 0
