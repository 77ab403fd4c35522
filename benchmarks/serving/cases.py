"""What is measured, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from benchmarks.serving import workload as w
from benchmarks.serving.load import Load, Shot
from benchmarks.serving.rig import NACRE, Rig

CONNECTIONS: Final = 32
CONNECTIONS_LARGE: Final = 8
"""For 500 actions: the slow servers would keep 32 connections waiting beyond any deadline."""
_LIMIT: Final = 1_000_000
_LIMIT_LARGE: Final = 1_000
"""Requests in a window of 500 actions: their records fill Redis and its file with 150 KB each."""
_REWARDED: Final = 6_000


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table. `shots` makes the requests of a window, and what they need."""

    name: str
    title: str
    server: str
    shots: Callable[[Rig], list[Shot]]
    limit: int = _LIMIT
    connections: int = CONNECTIONS


def all_cases(*, has_vw: bool) -> list[Case]:
    """Every case that can be run here."""
    peers = [*_NAIVE, *(_VW if has_vw else [])]
    return [_FLOOR, *_NACRE_CASES, *peers]


def check_answers(case: Case, rig: Rig) -> str:
    """What is wrong with the answers of a case when they are read in full; "" if nothing is."""
    shots = case.shots(rig)[:32]
    load = Load(shots, case.connections, seconds=10.0, limit=len(shots), keeps=True)
    result = rig.fire(case.server, load)
    if result.complaint or len(result.kept) != len(shots):
        return result.complaint or f"{len(result.kept)} answers to {len(shots)} requests"
    if case is _FLOOR or case is OBSERVE:
        return ""
    return next((wrong for at, body in result.kept if (wrong := _complaint(shots[at], body))), "")


class _Chosen(msgspec.Struct):
    id: str


class _Ranked(msgspec.Struct):
    id: str
    probability: float


class _Decision(msgspec.Struct):
    """What the answers of all servers have in common."""

    decision_id: str
    policy: str
    model_version: str
    action: _Chosen
    propensity: float
    ranking: list[_Ranked]


def _complaint(shot: Shot, body: bytes) -> str:
    decision = msgspec.json.decode(body, type=_Decision)
    probabilities = {one.id: one.probability for one in decision.ranking}
    if {name.encode() for name in probabilities} != shot.accepted:
        return "the ranking holds other actions than the request"
    if abs(sum(probabilities.values()) - 1) > 1e-4:
        return "the probabilities do not add up to 1"
    if abs(probabilities[decision.action.id] - decision.propensity) > 1e-6:
        return "the propensity is not the probability of the chosen action"
    return ""


# -- the list -----------------------------------------------------------------------------------


def _floor(rig: Rig) -> list[Shot]:
    return [Shot(s.request, s.marker, frozenset({b"constant"})) for s in _ids(w.SMALL)(rig)]


def _ids(policy: str, path: str = "/v1/act") -> Callable[[Rig], list[Shot]]:
    asked = w.questions(policy)
    shots = w.json_shots(path, [w.by_ids(policy, one) for one in asked], asked)
    return lambda rig: shots


def _nested(path: str) -> Callable[[Rig], list[Shot]]:
    asked = w.questions(w.LARGE)
    shots = w.json_shots(path, [w.by_nested_json(w.LARGE, one) for one in asked], asked)
    return lambda rig: shots


def _binary(rig: Rig) -> list[Shot]:
    asked = w.questions(w.LARGE)
    return w.msgpack_shots("/v1/act", [w.by_blocks(w.LARGE, one) for one in asked], asked)


def _rewards(rig: Rig) -> list[Shot]:
    return w.reward_shots(w.SMALL, rig.decide(w.SMALL, _REWARDED))


def _small(name: str, title: str, server: str, path: str = "/v1/act") -> Case:
    return Case(name, title, server, _ids(w.SMALL, path))


def _large(name: str, title: str, server: str, shots: Callable[[Rig], list[Shot]]) -> Case:
    return Case(name, title, server, shots, _LIMIT_LARGE, CONNECTIONS_LARGE)


_FLOOR = Case("floor", "raw ASGI app (the floor)", "floor", _floor)
OBSERVE = Case("observe", "Nacre /observe, durable", NACRE, _rewards, _REWARDED)
_NACRE_CASES = [
    _small("act_small", "Nacre /act, 10 ids, durable", NACRE),
    _small("act_small_no_log", "the same without its log", "no_log"),
    OBSERVE,
    _large("act_500_ids", "Nacre /act, 500 ids, durable", NACRE, _ids(w.LARGE)),
    _large("act_500_binary", "Nacre /act, 500 binary, durable", NACRE, _binary),
    _large("act_500_nested", "Nacre /act, 500 nested JSON, durable", NACRE, _nested("/v1/act")),
]
_FEATURES = "/act_features"
_NAIVE = [
    _small("naive_small", "naive async, 10 ids", "naive_async", "/act"),
    _large("naive_500_ids", "naive async, 500 ids", "naive_async", _ids(w.LARGE, "/act")),
    _large("naive_500_nested", "naive async, 500 nested JSON", "naive_async", _nested(_FEATURES)),
    _small("frozen_small", "naive async + gc.freeze, 10 ids", "naive_frozen", "/act"),
    _large("frozen_500_nested", "naive async + gc.freeze, 500 nested", "naive_frozen", _nested(_FEATURES)),
    _small("naive_def_small", "naive def, 10 ids", "naive_def", "/act"),
    _large("naive_def_500_nested", "naive def, 500 nested JSON", "naive_def", _nested(_FEATURES)),
]  # fmt: skip
_VW = [
    _small("vw_small", "vw, 10 ids, no log", "vw"),
    _large("vw_500_nested", "vw, 500 nested JSON, no log", "vw", _nested("/v1/act")),
]
