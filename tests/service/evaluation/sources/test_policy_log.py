"""The log of a registered policy, from a real Redis and its archive: every decision once, with what came of it."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.archive.archiver import Archiver
from service.archive.logic import Event, StreamId
from service.archive.parts import list_parts, read_archive, read_part, write_part
from service.archive.repository import ArchiveRepository
from service.decisions.schemas import Observation
from service.evaluation.errors import EvaluationError
from service.evaluation.sources.joined import Period
from service.evaluation.sources.live import LiveLog
from service.evaluation.sources.log import LogSource
from service.evaluation.sources.policy_log import ALL, Choice, open_archive, open_live
from service.evaluation.sources.rewards import components_of
from service.evaluation.steps import LoggedStep, RefusedRow
from service.feedback.ledger import read_ledger
from service.feedback.schemas import EpisodeEnd
from service.policies.catalog import CatalogAction, CatalogDocument
from tests.support.ledgers import START_MS, World, open_world
from tests.support.policies import bandit, featured, sequential, steering, with_agent


@dataclass(frozen=True)
class Read:
    """A log that was read to its end."""

    steps: dict[str, LoggedStep]
    refused: list[RefusedRow]
    skipped: Mapping[str, int]
    total: int | None


class Log:
    """The world of one policy, with an archive."""

    def __init__(self, world: World, redis_url: str, root: Path) -> None:
        self.world = world
        self.root = root
        self.folder = root / world.keys.policy
        self.redis_url = redis_url
        self._archiver = Archiver(
            ArchiveRepository(world.client), root, part_events=1000, every_s=0
        )

    async def archive(self, keep: int = 1) -> None:
        [length] = await ArchiveRepository(self.world.client).lengths([self.world.keys])
        await self._archiver.archive(self.world.keys, keep, length)

    async def close_all(self) -> None:
        await self.world.join(at_ms=self.world.deadline_ms)

    async def read(self, choice: Choice = ALL) -> Read:
        """Archives everything and reads the archive."""
        await self.archive()
        return await self._read(open_archive, choice)

    async def read_live(self, choice: Choice = ALL) -> Read:
        return await self._read(open_live, choice)

    async def _read(self, opened: Callable[..., Any], choice: Choice) -> Read:
        def run() -> Read:
            with opened(self.redis_url, self.root, self.world.keys.policy, choice) as source:
                return read_all(source)

        return await asyncio.to_thread(run)


def read_all(source: LogSource) -> Read:
    steps = list(source)
    assert len({step.decision_id for step in steps}) == len(steps)
    by_id = {step.decision_id: step for step in steps}
    return Read(by_id, source.refused, dict(source.skipped), source.total)


@asynccontextmanager
async def opened(document: dict[str, Any], redis_url: str, root: Path) -> AsyncIterator[Log]:
    async with open_world(redis_url, document) as world:
        yield Log(world, redis_url, root)


@pytest.fixture
async def log(redis_url: str, tmp_path: Path) -> AsyncIterator[Log]:
    """A bandit that is rewarded in parts; the default is -1."""
    rule = {
        "wait_s": 60,
        "default": -1.0,
        "components": {"click": 1.0, "dwell_s": 0.1},
        "guards": ["complaints"],
    }
    async with opened(bandit(reward=rule), redis_url, tmp_path) as one:
        yield one


def answered(world: World, decision_id: str, probabilities: list[float], **about: Any) -> Any:
    """A record whose answer ranks its actions with these probabilities."""
    record = world.decision(decision_id, **about)
    answer = msgspec.json.decode(record.response)
    answer["ranking"] = [
        one | {"probability": p} for one, p in zip(answer["ranking"], probabilities, strict=True)
    ]
    return msgspec.structs.replace(record, response=msgspec.json.encode(answer))


# -- what a decision becomes ----------------------------------------------------------------------


async def test_a_decision_becomes_the_step_that_was_served(log: Log) -> None:
    world = log.world
    about: dict[str, Any] = {"actions": ["a", "b", "c"], "action": "b", "version": 7}
    await world.write(answered(world, "d1", [0.5, 0.25, 0.25], propensity=0.25, **about))
    await world.reward("d1", 2.0, cost=0.5)
    await log.close_all()

    found = await log.read()

    step = found.steps["d1"]
    assert (step.action, step.propensity, step.model_version) == (1, 0.25, "home@7")
    assert (step.reward, step.cost, step.at_ms) == (2.0, 0.5, START_MS)
    assert step.state.tolist() == [1.0, 2.0]
    assert step.actions.ids == ("a", "b", "c")
    assert step.behaviour is not None
    assert step.behaviour.tolist() == [0.5, 0.25, 0.25]
    assert (step.allowed, step.target, step.place) == (None, None, None)
    assert "decision d1" in step.row
    assert (found.refused, found.skipped, found.total) == ([], {}, 1)


async def test_a_source_can_be_read_twice(log: Log) -> None:
    await log.world.decide("d1")
    await log.close_all()
    await log.archive()

    def twice() -> list[list[str]]:
        with open_archive(log.redis_url, log.root, "home") as source:
            return [[step.decision_id for step in source] for _ in range(2)]

    assert await asyncio.to_thread(twice) == [["d1"], ["d1"]]


async def test_probabilities_of_one_arm_are_not_those_of_all(log: Log) -> None:
    """The propensity is composed over the arms of a rollout; the ranking may be of the one that decided."""
    await log.world.write(answered(log.world, "d1", [0.5, 0.5], propensity=0.45))
    await log.close_all()

    step = (await log.read()).steps["d1"]

    assert (step.propensity, step.behaviour) == (0.45, None)


async def test_excluded_actions_are_not_allowed(log: Log) -> None:
    world = log.world
    about: dict[str, Any] = {"actions": ["a", "b", "c"], "excluded_actions": ["b"]}
    await world.write(answered(world, "d1", [0.5, 0.0, 0.5], **about))
    await log.close_all()

    step = (await log.read()).steps["d1"]

    assert step.allowed is not None
    assert step.allowed.tolist() == [True, False, True]


async def test_an_excluded_action_that_a_fallback_took_was_allowed(log: Log) -> None:
    record = answered(log.world, "d1", [1.0, 0.0], propensity=1.0, excluded_actions=["a", "b"])
    await log.world.write(record)
    await log.close_all()

    step = (await log.read()).steps["d1"]

    assert step.allowed is not None
    assert step.allowed.tolist() == [True, False]


async def test_what_safety_denies_is_not_allowed(redis_url: str, tmp_path: Path) -> None:
    document = with_agent(bandit(), safety={"kind": "action_filter", "denied": ["b"]})
    async with opened(document, redis_url, tmp_path) as log:
        await log.world.write(answered(log.world, "d1", [1.0, 0.0], propensity=1.0))
        await log.close_all()

        step = (await log.read()).steps["d1"]

        assert step.allowed is not None
        assert step.allowed.tolist() == [True, False]


async def test_a_continuous_action_is_a_set_of_one(redis_url: str, tmp_path: Path) -> None:
    async with opened(steering(episodes=None), redis_url, tmp_path) as log:
        await log.world.write(_steered(log.world, "d1", [0.5, 0.25], 0.75))
        await log.world.write(_steered(log.world, "d2", [0.5, 0.25], None))
        await log.close_all()

        found = await log.read()

        step = found.steps["d1"]
        assert step.actions.features.tolist() == [[0.5, 0.25]]
        assert (step.action, step.propensity) == (0, 0.75)
        assert (step.allowed, step.behaviour) == (None, None)
        assert found.skipped == {"not_drawn": 1}


def _steered(world: World, decision_id: str, value: list[float], density: float | None) -> Any:
    record = world.decision(decision_id)
    asked, answer = msgspec.json.decode(record.request), msgspec.json.decode(record.response)
    del asked["actions"], answer["ranking"]
    answer |= {"action": {"value": value}, "propensity": density}
    return msgspec.structs.replace(
        record, request=msgspec.json.encode(asked), response=msgspec.json.encode(answer)
    )


async def test_the_catalog_of_the_time_says_what_an_id_was(redis_url: str, tmp_path: Path) -> None:
    async with opened(featured(), redis_url, tmp_path) as log:
        world = log.world
        for revision, vector in ((1, [1.0, 0.0, 0.0]), (2, [0.0, 0.0, 1.0])):
            document = CatalogDocument(revision, {"a": CatalogAction(vector=vector)})
            await world.policies.put_catalog(world.keys, document, event={}, keep_ms=60_000)
        await world.write(_named(world, "d1", catalog=1))
        await world.write(_named(world, "d2", catalog=2))
        await world.write(_named(world, "d3", catalog=9))
        await log.close_all()

        found = await log.read()

        assert found.steps["d1"].actions.features.tolist() == [[1.0, 0.0, 0.0]]
        assert found.steps["d2"].actions.features.tolist() == [[0.0, 0.0, 1.0]]
        assert found.skipped == {"unreadable": 1}


def _named(world: World, decision_id: str, catalog: int) -> Any:
    record = world.decision(decision_id, actions=["a"], propensity=1.0, catalog=catalog)
    asked = msgspec.json.decode(record.request)
    asked["observation"] = {"features": {"user": {"age": 40, "tier": "gold"}}}
    return msgspec.structs.replace(record, request=msgspec.json.encode(asked))


async def test_a_step_knows_its_episode_and_how_it_ended(redis_url: str, tmp_path: Path) -> None:
    async with opened(sequential(), redis_url, tmp_path) as log:
        for episode in ("e", "f"):
            for step in range(2):
                about: dict[str, Any] = {"actions": ["left", "right"], "action": "left"}
                await log.world.decide(f"{episode}{step}", episode=(episode, step), **about)
        await log.world.seal("e", "terminated")
        end = EpisodeEnd(Observation(vector=[9.0, 9.0]), ["left"])
        await log.world.seal("f", "truncated", msgspec.msgpack.encode(end))
        await log.close_all()

        found = await log.read()

        places = {
            name: (step.place.episode_id, step.place.step, step.is_terminated)
            for name, step in found.steps.items()
            if step.place is not None
        }
        assert places == {
            "e0": ("e", 0, False),
            "e1": ("e", 1, True),
            "f0": ("f", 0, False),
            "f1": ("f", 1, False),
        }


# -- rewards ------------------------------------------------------------------------------------


async def test_the_default_counts_and_late_rewards_do_not(log: Log) -> None:
    await log.world.decide("d1")
    await log.close_all()
    await log.world.reward("d1", 9.0)

    step = (await log.read()).steps["d1"]

    assert (step.reward, step.components) == (-1.0, {})


async def test_components_add_up_with_corrections_and_rewards_that_came_first(log: Log) -> None:
    """0.1 * 20 + 0.1 * 5 + 1 = 3.5: a was amended to 20, b retracted, c came before the decision."""
    world = log.world
    await world.reward("d1", None, components={"click": 1, "dwell_s": 5}, reward_id="c")
    await world.decide("d1")
    await world.reward("d1", None, components={"dwell_s": 90}, reward_id="a")
    await world.reward("d1", None, components={"click": 7}, reward_id="b")
    await world.reward("d1", None, components={"dwell_s": 20}, reward_id="a", op="amend")
    await world.reward("d1", None, reward_id="b", op="retract")
    await world.reward("d1", None, components={"complaints": 2}, reward_id="g")
    await log.close_all()

    step = (await log.read()).steps["d1"]

    assert step.components == {"click": 1.0, "dwell_s": 25.0, "complaints": 2.0}
    assert step.reward == pytest.approx(3.5)


async def test_other_weights_total_the_components_anew(log: Log) -> None:
    """2 * 3 - 1 * 10 = -4 in place of 3 + 1 = 4; without a reward the default stays."""
    await log.world.decide("d1")
    await log.world.decide("d2")
    await log.world.reward("d1", None, components={"click": 3, "dwell_s": 10})
    await log.close_all()

    found = await log.read(Choice(weights={"click": 2.0, "dwell_s": -1.0}))

    assert {name: step.reward for name, step in found.steps.items()} == {"d1": -4.0, "d2": -1.0}


async def test_a_reward_without_components_cannot_be_weighed_anew(log: Log) -> None:
    await log.world.decide("d1")
    await log.world.decide("d2")
    await log.world.reward("d1", 1.0, reward_id="bill")
    await log.world.reward("d2", None, components={"click": 1})
    await log.close_all()

    found = await log.read(Choice(weights={"click": 2.0, "dwell_s": 0.0}))

    [refused] = found.refused
    assert list(found.steps) == ["d2"]
    assert "decision d1" in refused.row
    assert "'bill' came as one number" in refused.why
    assert "send `components`" in refused.why


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"clik": 1.0, "click": 1.0, "dwell_s": 1.0}, "did you mean 'click'"),
        ({"click": 1e13, "dwell_s": 1.0}, "rescale"),
        ({"click": float("nan"), "dwell_s": 1.0}, "nan found"),
        ({"click": 1.0}, "'dwell_s' has no weight"),
    ],
)
async def test_wrong_weights_are_refused_by_name(
    log: Log, weights: dict[str, float], why: str
) -> None:
    await log.world.decide("d1")

    with pytest.raises(EvaluationError, match=why):
        await log.read(Choice(weights=weights))


@pytest.mark.parametrize("seed", range(8))
async def test_rewards_count_as_they_do_in_redis(log: Log, seed: int) -> None:
    """Whatever is sent, in whatever order: the log gives the ledger that the joiner saw."""
    chance, world = random.Random(seed), log.world
    names = ["d0", "d1", "d2"]
    for name in sorted(names * 8, key=lambda _: chance.random()):
        if chance.random() < 0.15:
            await world.decide(name)
            continue
        world.now_ms += chance.randint(0, 3)
        about: dict[str, Any] = {"reward_id": chance.choice("abc")}
        about["op"] = chance.choice(["add", "add", "amend", "retract"])
        if about["op"] != "retract":
            about["components"] = {chance.choice(["click", "dwell_s"]): chance.randint(0, 9)}
        await world.reward(name, None, **about)
    for name in names:
        await world.decide(name)
    ledgers = {}
    for name in names:
        fields: Any = await world.client.hgetall(world.keys.ledger_prefix + name)
        known = {field.decode(): value for field, value in fields.items()}
        ledgers[name] = read_ledger(known, world.config.reward).rewards
    await log.close_all()

    found = await log.read()

    assert found.steps.keys() == set(names)
    for name, rewards in ledgers.items():
        step = found.steps[name]
        assert step.components == components_of(rewards, world.config.reward)
        parts = math.fsum(
            weight * step.components.get(part, 0)
            for part, weight in world.config.reward.components.items()
        )
        assert step.reward == pytest.approx(parts if rewards else -1.0)


# -- what is left out -----------------------------------------------------------------------------


async def test_what_cannot_count_is_left_out_by_reason(log: Log) -> None:
    world = log.world
    await world.decide("shown", activated=False)
    await world.write(world.decision("broken"), body=b"\xc1")
    person = msgspec.json.decode(world.decision("person").response) | {"reason": "human"}
    record = world.decision("person")
    await world.write(msgspec.structs.replace(record, response=msgspec.json.encode(person)))
    await world.write(world.shadow("theirs"))
    await world.decide("good")
    await log.close_all()
    await world.decide("waits")

    found = await log.read()

    assert list(found.steps) == ["good"]
    assert found.refused == []
    assert found.skipped == {
        "not_activated": 1,
        "unreadable": 1,
        "chosen_by_a_person": 1,
        "made_by_another_system": 1,
        "waiting_for_reward": 1,
    }


async def test_decisions_that_were_not_learned_from_were_really_made(log: Log) -> None:
    """Quarantined, or logged only: the reward is known, and so is the propensity."""
    world = log.world
    await world.decide("quarantined", version=3)
    await world.decide("logged", mode="logging_only", propensity=1.0)
    await world.client.hset(world.keys.meta, "quarantined:3", "1")
    await world.reward("quarantined", 5.0)
    await log.close_all()

    found = await log.read()

    assert {name: step.reward for name, step in found.steps.items()} == {
        "quarantined": 5.0,
        "logged": -1.0,
    }


async def test_decisions_with_other_features_are_left_out(log: Log) -> None:
    await log.world.decide("d1")
    await log.close_all()

    found = await log.read(Choice(feature_schema="fs:other"))

    assert (found.steps, found.skipped) == ({}, {"other_features": 1})


async def test_only_the_period_that_is_asked_for_is_read(log: Log) -> None:
    await log.world.decide("d1")
    await log.close_all()
    await log.archive()
    [at_ms] = [event.at_ms for event in read_archive(log.folder) if event.type == "decision"]

    within = await log.read(Choice(period=Period(at_ms, at_ms)))
    before = await log.read(Choice(period=Period(None, at_ms - 1)))

    assert (list(within.steps), list(before.steps)) == (["d1"], [])
    assert before.skipped == {}


async def test_a_decision_whose_configuration_is_gone_is_refused_with_its_place(log: Log) -> None:
    await log.world.decide("d1")
    await log.close_all()
    await log.world.client.hdel(log.world.keys.meta, f"config:{log.world.config.config_hash}")

    found = await log.read()

    [refused] = found.refused
    assert found.skipped == {"refused": 1}
    assert refused.row.endswith("decision d1")
    assert "no longer kept" in refused.why


# -- decisions of another system ------------------------------------------------------------------


async def test_what_another_system_did_is_read_with_its_propensity(log: Log) -> None:
    world = log.world
    record = world.shadow("s1", propensity=0.25)
    answer = msgspec.json.decode(record.response)
    answer["ranking"] = [
        {"id": "a", "probability": 0.9, "score": 1.0},
        {"id": "b", "probability": 0.1, "score": 0.0},
    ]
    await world.write(msgspec.structs.replace(record, response=msgspec.json.encode(answer)))
    await world.write(world.shadow("s2", propensity=None))
    await world.decide("d1")
    await world.reward("s1", 3.0)
    await log.close_all()

    found = await log.read(Choice(kind="shadow"))

    step = found.steps["s1"]
    assert (step.action, step.propensity, step.reward) == (1, 0.25, 3.0)
    assert (step.behaviour, step.model_version) == (None, "")
    assert step.target is not None
    assert step.target.tolist() == [0.9, 0.1]
    assert found.skipped == {"propensity_unknown": 1, "made_by_this_policy": 1}
    assert found.total == 2


# -- damage ---------------------------------------------------------------------------------------


async def test_a_damaged_part_is_named_and_costs_only_what_is_in_it(log: Log) -> None:
    """Three parts: d1; the reward of d2; d3. d2 keeps the reward that it was closed with."""
    world = log.world
    await world.decide("d1")
    await world.decide("d2")
    await log.archive()
    await world.reward("d2", None, components={"click": 4})
    await log.archive()
    await world.decide("d3")
    await log.close_all()
    await log.archive()
    _split_of_merges(log.folder)
    torn = next(part.path for part in list_parts(log.folder) if _types(part.path) == ["reward"])
    torn.write_bytes(torn.read_bytes()[:50])

    found = await log.read()
    reweighed = await log.read(Choice(weights={"click": 2.0, "dwell_s": 0.0}))

    assert found.steps.keys() == {"d1", "d2", "d3"}
    assert (found.steps["d2"].reward, found.steps["d2"].components) == (4.0, {})
    [refused] = found.refused
    assert refused.row == torn.name
    assert found.skipped == {"damaged_part": 1}
    assert reweighed.steps.keys() == {"d3"}
    assert reweighed.skipped == {"refused": 2, "damaged_part": 1}
    assert "missing in the log" in reweighed.refused[0].why


def _types(path: Path) -> list[str]:
    return sorted({event.type for event in read_part(path)})


def _split_of_merges(folder: Path) -> None:
    """Writes every run of events of one type as a part of its own."""
    events = list(read_archive(folder))
    for part in list_parts(folder):
        part.path.unlink()
    run: list[Event] = []
    for event in events:
        if run and run[-1].type != event.type:
            write_part(folder, run)
            run = []
        run.append(event)
    write_part(folder, run)


async def test_a_log_that_begins_in_the_middle_says_what_it_lacks(log: Log) -> None:
    await log.world.decide("d1")
    await log.world.client.xtrim(log.world.keys.log, maxlen=0, approximate=False)
    await log.world.decide("d2")
    await log.close_all()

    found = await log.read()

    assert list(found.steps) == ["d2"]
    assert found.skipped == {"decision_not_in_the_log": 1}


async def test_an_event_that_cannot_be_read_costs_no_other(log: Log) -> None:
    await log.world.decide("d1")
    await log.world.client.xadd(log.world.keys.log, {"t": "reward", "d": "d1", "b": b"\xc1"})
    await log.close_all()

    found = await log.read()

    assert list(found.steps) == ["d1"]
    [refused] = found.refused
    assert "the reward event cannot be read" in refused.why


@pytest.mark.parametrize("policy", ["home", "nobody"])
async def test_a_log_that_is_not_there_is_an_error(log: Log, policy: str) -> None:
    def run() -> None:
        with open_archive(log.redis_url, log.root, policy):
            pass

    with pytest.raises(EvaluationError, match="no parts"):
        await asyncio.to_thread(run)


async def test_a_policy_that_is_not_there_is_an_error(log: Log) -> None:
    def run() -> None:
        with open_live(log.redis_url, log.root, "nobody"):
            pass

    with pytest.raises(EvaluationError, match="'nobody' is not registered"):
        await asyncio.to_thread(run)


# -- the log of a policy that runs ----------------------------------------------------------------


async def test_the_live_log_goes_on_where_the_archive_ends(log: Log) -> None:
    world = log.world
    await world.decide("d1")
    await world.reward("d1", 1.0, final=True)
    await world.join()
    await log.archive(keep=2)
    await world.decide("d2")
    await world.reward("d2", 2.0, final=True)
    await world.join()

    found = await log.read_live()

    assert {name: step.reward for name, step in found.steps.items()} == {"d1": 1.0, "d2": 2.0}


async def test_the_live_log_needs_no_archive(log: Log) -> None:
    await log.world.decide("d1")
    await log.close_all()

    assert list((await log.read_live()).steps) == ["d1"]


class _Racing:
    """A Redis that is archived and trimmed at chosen moments between our reads."""

    def __init__(self, ids: list[Event], folder: Path, chance: random.Random) -> None:
        self._kept = ids
        self._folder = folder
        self._chance = chance

    def archive_some(self) -> None:
        """Archives the oldest events, and forgets them but for the newest one."""
        count = self._chance.randint(1, 4)
        gone, self._kept = self._kept[:count], self._kept[count:]
        if gone:
            write_part(self._folder, gone)
        if not self._kept:
            self._kept = gone[-1:]

    def events(self, after: StreamId, count: int) -> list[Event]:
        if self._chance.random() < 0.6:
            self.archive_some()
        found = [event for event in self._kept if event.stream_id > after]
        return found[: min(count, 3)]


@pytest.mark.parametrize("seed", range(20))
def test_no_event_is_lost_or_twice_while_the_archiver_works(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    ids = [Event(StreamId(at, 0), "reward", f"d{at}", b"") for at in range(1, 31)]
    racing = _Racing(list(ids), tmp_path, chance)
    for _ in range(chance.randint(0, 4)):
        racing.archive_some()

    found = list(LiveLog(tmp_path, racing))

    assert [event.at_ms for event in found] == list(range(1, 31))
