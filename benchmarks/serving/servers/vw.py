"""Vowpal Wabbit through its pip package, behind raw ASGI and msgspec: no framework, and no log.

Features of known actions are text before the first request. No interactions (`-q`): they would only
cost more. Actions that bring their features are written as text per request, as its interface asks.
"""

from __future__ import annotations

import itertools
import random

import msgspec
from vowpalwabbit import Workspace

from benchmarks.serving.servers.asgi import App, application
from benchmarks.serving.workload import CATALOGS, catalog
from service.decisions.schemas import ChosenAction, Ranked


class _Observation(msgspec.Struct):
    vector: list[float]


class _Action(msgspec.Struct):
    id: str
    vector: list[float]


class _Request(msgspec.Struct):
    policy: str
    observation: _Observation
    actions: list[str | _Action]


class _Answer(msgspec.Struct):
    decision_id: str
    policy: str
    model_version: str
    action: ChosenAction
    propensity: float
    ranking: list[Ranked]


class _Vw:
    def __init__(self) -> None:
        self._workspace = Workspace("--cb_explore_adf --epsilon 0.1 --quiet")
        self._catalogs = {
            policy: {name: _text("|a ", row) for name, row in catalog(policy).items()}
            for policy in CATALOGS
        }
        self._decode = msgspec.json.Decoder(_Request).decode
        self._ids = itertools.count()

    def answer(self, path: str, body: bytes) -> bytes:
        request = self._decode(body)
        known = self._catalogs[request.policy]
        ids, lines = [], [_text("shared |s ", request.observation.vector)]
        for action in request.actions:
            if isinstance(action, str):
                ids.append(action)
                lines.append(known[action])
            else:
                ids.append(action.id)
                lines.append(_text("|a ", action.vector))
        probabilities = self._workspace.predict("\n".join(lines))
        index = random.choices(range(len(ids)), probabilities)[0]
        return msgspec.json.encode(
            _Answer(
                decision_id=f"{next(self._ids):026x}",
                policy=request.policy,
                model_version="vw@1",
                action=ChosenAction(ids[index], index),
                propensity=probabilities[index],
                ranking=[Ranked(i, p, None) for i, p in zip(ids, probabilities, strict=True)],
            )
        )


def _text(start: str, numbers: list[float]) -> str:
    return start + " ".join([f"{at}:{number}" for at, number in enumerate(numbers)])


def create_app() -> App:
    return application(_Vw().answer)
