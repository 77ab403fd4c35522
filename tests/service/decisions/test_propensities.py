"""What is logged is what happens, and can be computed again, whatever comes together in one decision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest

from service.decisions import logic
from service.decisions.choice import Assigned
from service.decisions.records import RECORD_FORMAT, DecisionRecord, encode_record
from service.decisions.replay import compared
from service.decisions.schemas import ActRequest, ActResponse, EpisodeStep, Observation
from service.policies.head import Rollout, Trip
from service.policies.served import Served, ServedSets, Serving, serving_of
from service.rollout import scoring
from tests.support.served import neural, served

_DECISIONS = 300
_WORLDS = range(36)
_ROLLOUT = Rollout(
    rollout_id="r1", candidate=2, stage="canary", started_ms=0, since_ms=0, share=0.3
)
_TRIP = Trip(trip_id="t", signal="reward", why="it fell", at_ms=0)
# Represented actions are one-hot: feature 2 is 1 for `c` alone.
_NOT_C = [{"feature": 2, "op": "<=", "value": 0.5}]
_CHOICES: dict[str, list[Any]] = {
    "canary": [False, True, True],
    "holdback": [None, "uniform", "baseline"],
    "trip": ["", "", "fallback", "version"],
    "approval": [
        None,
        {"envelope": _NOT_C},
        {"envelope": _NOT_C, "least_confidence": 0.6, "otherwise": "hold"},
        {"least_confidence": 0.6},
    ],
    "fallback": ["baseline", "uniform", "first"],
    "confidence": [0.0, 0.0, 0.6],
    "floor": [0.0, 0.1],
    "safety": [False, True],
    "learner": ["neural", "epsilon", "deep"],
    "mode": ["online", "online", "online", "online", "apprentice", "logging_only"],
    "explore": [True, True, True, False],
    "excluded": [[], [], ["b"]],
    "baseline": [None, "c"],
    "group": ["subject", "episode", "none"],
    "late": [False, False, False, True],
}


@dataclass(frozen=True)
class World:
    """One combination. `drawn`: what was chosen of each."""

    drawn: dict[str, Any]
    serving: Serving
    versions: dict[str, Served]


def _document(drawn: dict[str, Any]) -> dict[str, Any]:
    document = neural(fallback=drawn["fallback"], trips={"least_confidence": drawn["confidence"]})
    agent = document["agent"]
    if drawn["learner"] == "epsilon":
        agent["exploration"] = {"kind": "epsilon_greedy", "epsilon": 0.3}
    if drawn["learner"] == "deep":
        agent["policy_learner"] = {"kind": "bootstrapped_dqn"}
        agent["exploration"] = {"kind": "deep"}
        agent["replay"] = {"kind": "fifo", "capacity": 100}
        document["episodes"] = {"idle_s": 7200}
    agent |= {"min_propensity": drawn["floor"], "max_actions": 3}
    if drawn["safety"]:
        agent["safety"] = {"kind": "action_filter", "denied": ["a"]}
    if drawn["approval"]:
        document["approval"] = drawn["approval"]
    if drawn["holdback"]:
        document["rollout"] = {"holdback": {"share": 0.2, "kind": drawn["holdback"]}}
    return document


@cache
def _world(number: int) -> World:
    random = np.random.default_rng(number)
    drawn = {name: some[random.integers(len(some))] for name, some in _CHOICES.items()}
    document = _document(drawn)
    versions = {f"home@{version}": served(document, version) for version in (1, 2, 3)}
    serving = serving_of(
        versions["home@1"],
        canary=versions["home@2"] if drawn["canary"] else None,
        rollout=_ROLLOUT,
        trip=_TRIP if drawn["trip"] else None,
        instead=versions["home@3"] if drawn["trip"] == "version" else None,
    )
    return World(drawn, serving, versions)


def _request(drawn: dict[str, Any], number: int) -> ActRequest:
    group = drawn["group"]
    return ActRequest(
        observation=Observation(vector=[1.0, -2.0]),
        actions=["a", "b", "c"],
        subject=f"u{number}" if group == "subject" else None,
        episode=EpisodeStep(episode_id=f"e{number}", step=0) if group == "episode" else None,
        excluded_actions=drawn["excluded"],
        baseline_action=drawn["baseline"],
        mode=drawn["mode"],
        explore=drawn["explore"],
    )


def _record(name: str, request: ActRequest, response: ActResponse) -> DecisionRecord:
    packed = (msgspec.json.encode(request), msgspec.json.encode(response))
    return DecisionRecord(RECORD_FORMAT, name, "decision", 0, 0, "json", 0, *packed)


def _decide(
    world: World, request: ActRequest, name: str
) -> tuple[ActResponse, list[DecisionRecord]]:
    """What is done without a person, and the records of that, and of what a person would be asked about."""
    live = world.serving.live
    state = live.encoding.state(request.observation)
    available = logic.available_actions(live.encoding, request)
    is_late = world.drawn["late"]
    made = logic.decide(world.serving, request, name, state, available, is_late=is_late)

    def answer(one: Assigned) -> ActResponse:
        return logic.answer(live, request, name, available, one, 0, None)

    both = [answer(one) for one in (made, made.proposal) if one is not None]
    return both[0], [_record(name, request, one) for one in both]


@pytest.mark.parametrize("number", _WORLDS)
def test_actions_are_taken_as_often_as_the_log_says(number: int) -> None:
    world = _world(number)
    taken, logged, spread = np.zeros(3), np.zeros(3), np.zeros(3)
    for at in range(_DECISIONS):
        answer, _ = _decide(world, _request(world.drawn, at), f"d{at}")
        p = np.array([one.probability for one in answer.ranking])
        assert p.sum() == pytest.approx(1.0, abs=1e-12)
        assert answer.propensity == p[answer.action.index] > 0
        taken[answer.action.index] += 1
        logged += p
        spread += p * (1 - p)

    # Each count is a sum of independent draws: 4.5 standard errors, and what is certain is never missed.
    assert (np.abs(taken - logged) <= 4.5 * np.sqrt(spread) + 1e-9).all(), world.drawn


@pytest.mark.parametrize("number", _WORLDS)
def test_every_decision_is_computed_again_bit_by_bit(number: int) -> None:
    world = _world(number)
    for at in range(20):
        _, records = _decide(world, _request(world.drawn, at), f"d{at}")
        for record in records:
            assert compared(record, world.versions.__getitem__) == [], world.drawn


@pytest.mark.parametrize("number", _WORLDS)
def test_nothing_outside_of_the_envelope_is_done_without_a_person(number: int) -> None:
    world = _world(number)
    if not (world.drawn["approval"] or {}).get("envelope") or world.drawn["mode"] != "online":
        return
    if world.drawn["safety"] and world.drawn["excluded"]:
        return  # nothing else is left
    for at in range(40):
        answer, _ = _decide(world, _request(world.drawn, at), f"d{at}")
        is_callers = answer.assignment.arm == "holdback" and world.drawn["holdback"] == "baseline"
        assert answer.action.id != "c" or is_callers, world.drawn


def test_a_version_that_is_scored_on_its_own_decisions_agrees_with_all_of_them() -> None:
    drawn = {name: some[0] for name, some in _CHOICES.items()}
    drawn |= {"learner": "deep", "group": "episode"}
    alone = served(_document(drawn), 1)
    assert isinstance(alone, ServedSets)
    world = World(drawn, serving_of(alone), {})

    records = [_decide(world, _request(drawn, at), f"d{at}")[1][0] for at in range(50)]

    seen = [scoring.read(encode_record(one)) for one in records]
    scored = [scoring.score(alone, one) for one in seen if one is not None]
    assert [one.is_match for one in scored if one is not None] == [True] * 50
