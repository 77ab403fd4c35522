"""Vowpal Wabbit's DSJSON: one decision of a contextual bandit a line, with its cost.

    {"_label_cost": -1, "_label_probability": 0.8, "_label_Action": 1, "_labelIndex": 0,
     "Timestamp": "2026-01-31T12:00:00Z", "Version": "1", "EventId": "d1", "a": [1, 2],
     "c": {"User": {"age": 30}, "_multi": [{"Item": {"topic": "art"}}, {"Item": {"topic": "law"}}]},
     "p": [0.8, 0.2], "VWState": {"m": "home@7"}}

`a` counts actions from 1, the one that was taken first; `p` goes with `a`, `_labelIndex` counts from 0. The cost
is minus the reward. Meanings are those of `json_parser/src/parse_example_json.cc` of Vowpal Wabbit 9.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import field

from agent_core.errors import FeatureError
from agent_core.features.numbers import finite_number
from service.decisions.schemas import ActionItem, Observation
from service.errors import InvalidError
from service.evaluation.rows import ROUNDING, LogRow
from service.feedback.schemas import Amount

_IDS: Final = "Id"
"""The namespace that the export gives to actions that are nothing but their ids."""


class _Interaction(msgspec.Struct, frozen=True):
    """The fields of a line that mean something here; all others are ignored, as they are by `vw`, which knows
    nothing of `is_encoded`: whether the vectors are those that a policy saw."""

    context: dict[str, Any] = field(name="c")
    cost: Amount | None = field(default=None, name="_label_cost")
    probability: float | None = field(default=None, name="_label_probability")
    action: int | None = field(default=None, name="_label_Action")
    index: int | None = field(default=None, name="_labelIndex")
    event_id: str = field(default="", name="EventId")
    timestamp: str | None = field(default=None, name="Timestamp")
    ranking: list[int] = field(default_factory=list, name="a")
    probabilities: list[float] = field(default_factory=list, name="p")
    drop: float = field(default=0.0, name="pdrop")
    skip_learn: bool = field(default=False, name="_skipLearn")
    was_never_shown: bool = field(default=False, name="_deferred")
    is_deferred: bool = field(default=False, name="DeferredAction")
    observations: list[dict[str, Any]] = field(default_factory=list, name="o")
    outcomes: list[Any] | None = field(default=None, name="_outcomes")
    state: dict[str, Any] = field(default_factory=dict, name="VWState")
    is_encoded: bool = field(default=False, name="_encoded")


_decode: Final = msgspec.json.Decoder(_Interaction).decode


class DsjsonReader:
    """Reads the lines of one log.

    `pdrop` is the share of events that was thrown away before they were logged, so a line stands for
    1 / (1 - pdrop) decisions. Where it is the same everywhere that changes no mean, and it is the same everywhere:
    a line with another one is refused.
    """

    def __init__(self) -> None:
        self._drop: float | None = None

    def row(self, line: bytes) -> LogRow | str:
        """The row of a line, or the reason for which it is rightly left out.

        Raises:
            msgspec.MsgspecError: it is no JSON, or a field is of another type.
            InvalidError: it contradicts itself, or is of another kind of problem.
        """
        found = _decode(line)
        if found.skip_learn:
            return "skip_learn"
        if _was_not_shown(found):
            return "not_activated"
        row = _row(found, line)
        self._check_drop(found.drop)
        return row

    def _check_drop(self, drop: float) -> None:
        if not 0 <= drop < 1:
            detail = f"{drop:g} found; it is a share from 0 to below 1; mend the log"
            raise InvalidError("/pdrop", detail, field_code="out_of_range")
        if self._drop is None:
            self._drop = drop
        if drop != self._drop:
            detail = (
                f"{drop:g} found, the lines before have {self._drop:g}, so lines would have to count differently;"
                " put those of each `pdrop` into a file of its own"
            )
            raise InvalidError("/pdrop", detail, field_code="mixed")


def _was_not_shown(found: _Interaction) -> bool:
    """Whether it was deferred, and nobody reported that the action was taken after all."""
    if found.was_never_shown:
        return True
    return found.is_deferred and not any(
        one.get("ActionTaken") is True or one.get("DeferredAction") is False
        for one in found.observations
    )


def _row(found: _Interaction, line: bytes) -> LogRow:
    actions = _actions(found)
    taken = _taken(found, len(actions))
    if found.cost is None:
        detail = "it is missing; join the outcomes to the decisions first, or leave the line out"
        raise InvalidError("/_label_cost", detail, field_code="required")
    if found.probability is None:
        detail = "it is missing: the probability of the action taken; log it when deciding, it cannot be made up later"
        raise InvalidError("/_label_probability", detail, field_code="required")
    model = found.state.get("m")
    return LogRow(
        decision_id=found.event_id[:256] or hashlib.blake2b(line, digest_size=16).hexdigest(),
        at=found.timestamp,
        observation=_observation(found),
        actions=list(actions),
        action_id=actions[taken].id,
        propensity=found.probability,
        probabilities=_probabilities(found, len(actions)),
        reward=0.0 - found.cost,
        model_version=model if isinstance(model, str) else "",
        encoded=found.is_encoded,
    )


def _actions(found: _Interaction) -> list[ActionItem]:
    given = found.context.get("_multi")
    if found.outcomes is not None or "_slots" in found.context:
        detail = "it chooses for several slots at once, which is not a decision on one action; leave it out"
        raise InvalidError("/_outcomes", detail, field_code="wrong_kind")
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        detail = "the list of available actions is missing, empty, or no list of objects"
        raise InvalidError("/c/_multi", detail, field_code="required")
    if any("__aid" in one for one in given):
        detail = "actions refer to a dictionary by `__aid`; expand them when extracting the log"
        raise InvalidError("/c/_multi", detail, field_code="deduplicated")
    return [_action(name, one) for name, one in zip(_names(given), given, strict=True)]


def _names(given: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of actions: their tags if those name them, else their places, counted from 1."""
    tags = [one.get("_tag") for one in given]
    names = [tag for tag in tags if isinstance(tag, str) and 0 < len(tag) <= 256]
    if len(set(names)) == len(given):
        return names
    return [str(at) for at in range(1, len(given) + 1)]


def _taken(found: _Interaction, count: int) -> int:
    """The position of what was done, which the line may say up to three times."""
    said = {
        "/_label_Action": found.action,
        "/_labelIndex": None if found.index is None else found.index + 1,
        "/a": found.ranking[0] if found.ranking else None,
    }
    known = {pointer: number for pointer, number in said.items() if number is not None}
    if not known:
        detail = "it is missing: the number of the action taken, counted from 1"
        raise InvalidError("/_label_Action", detail, field_code="required")
    number = next(iter(known.values()))
    for pointer, other in known.items():
        if other != number:
            detail = f"it means action {other}, and other fields action {number}; mend the log"
            raise InvalidError(pointer, detail, field_code="contradiction")
    if not 1 <= number <= count:
        detail = f"it means action {number} of {count}; actions count from 1"
        raise InvalidError(next(iter(known)), detail, "ActionNotShown", "not_shown")
    return number - 1


def _probabilities(found: _Interaction, count: int) -> list[float] | None:
    """In the order of `_multi`; None where the line has them for some actions only."""
    if len(found.probabilities) != count or len(found.ranking) != count:
        return None
    if sorted(found.ranking) != list(range(1, count + 1)):
        detail = f"it does not name each of the {count} actions once"
        raise InvalidError("/a", detail, field_code="invalid")
    if not abs(math.fsum(found.probabilities) - 1) <= ROUNDING:
        raise InvalidError("/p", "they do not sum to 1; mend the log", field_code="out_of_range")
    ordered = [0.0] * count
    for number, probability in zip(found.ranking, found.probabilities, strict=True):
        ordered[number - 1] = probability
    return ordered


# -- features -----------------------------------------------------------------------------------


def _observation(found: _Interaction) -> Observation:
    if (vector := _sole_vector(found.context)) is not None:
        return Observation(vector=vector)
    features = features_of(found.context)
    if found.is_encoded and not features:  # a policy that saw nothing but the actions
        return Observation(vector=[])
    return Observation(features=features)


def _action(name: str, given: Mapping[str, Any]) -> ActionItem:
    if (vector := _sole_vector(given)) is not None:
        return ActionItem(id=name, vector=vector)
    features = features_of(given)
    return (
        ActionItem(id=name)
        if features == {_IDS: {name: 1.0}}
        else ActionItem(id=name, features=features)
    )


def _sole_vector(given: Mapping[str, Any]) -> list[float] | None:
    """The numbers of an example that is one list of numbers, which is a plain vector."""
    own = [value for name, value in given.items() if not name.startswith("_")]
    if len(own) != 1 or not isinstance(own[0], list) or not own[0]:
        return None
    return own[0] if all(type(one) in (int, float) for one in own[0]) else None


def features_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Features by namespace, all numbers: a string or a truth value is the feature `name=value` of 1, a list of
    numbers has its positions as names, and `_text` gives 1 for each word. Names that begin with an underscore
    mean other things. Dots become underscores, because paths of features are written with them.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name == "_text" and isinstance(value, str):
            for word in value.split():
                _add(found, word, 1.0)
        elif not name.startswith("_"):
            _put(found, name, value)
    return found


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    match value:
        case None:
            return
        case bool():
            _add(found, f"{name}={str(value).lower()}", 1.0)
        case str():
            _add(found, f"{name}={value}", 1.0)
        case dict():
            _merge(found, name, features_of(value))
        case list():
            for at, inner in enumerate(value):
                # Objects in a list are parts of one namespace.
                nested = inner if isinstance(inner, dict) else {str(at): inner}
                _merge(found, name, features_of(nested))
        case _:
            _add(found, name, _number(name, value))


def _number(name: str, value: Any) -> float:
    try:
        return finite_number(value, f"/c/{name}")
    except FeatureError as error:
        raise InvalidError(error.pointer, error.detail, field_code=error.code) from None


def _merge(found: dict[str, Any], name: str, inner: Mapping[str, Any]) -> None:
    space = found.setdefault(_plain(name), {})
    if not isinstance(space, dict):
        detail = f"{name!r} is a namespace and a feature; rename one of them"
        raise InvalidError("/c", detail, field_code="ambiguous")
    for key, value in inner.items():
        if isinstance(value, dict):
            _merge(space, key, value)
        else:
            _add(space, key, value)


def _add(found: dict[str, Any], name: str, value: float) -> None:
    before = found.get(_plain(name), 0.0)
    if isinstance(before, dict):
        detail = f"{name!r} is a namespace and a feature; rename one of them"
        raise InvalidError("/c", detail, field_code="ambiguous")
    found[_plain(name)] = before + value


def _plain(name: str) -> str:
    return name.replace(".", "_")


# -- writing ------------------------------------------------------------------------------------


def line_of(row: LogRow) -> bytes:
    """The line of a row, without its end. Actions that were not allowed are left out; cost, components, episodes
    and target probabilities have no place in DSJSON.

    Raises:
        InvalidError: its action is continuous.
    """
    if row.actions is None:
        detail = "a continuous action has no place in DSJSON; export JSONL"
        raise InvalidError("/value", detail, field_code="wrong_kind")
    assert row.reward is not None
    banned = set(row.excluded_actions)
    items = [ActionItem(id=one) if isinstance(one, str) else one for one in row.actions]
    kept = [at for at, item in enumerate(items) if item.id not in banned]
    taken = next(place for place, at in enumerate(kept) if items[at].id == row.action_id)
    order = [taken, *(place for place in range(len(kept)) if place != taken)]
    line = {
        "_label_cost": 0.0 - row.reward,
        "_label_probability": row.propensity,
        "_label_Action": taken + 1,
        "_labelIndex": taken,
        **({"Timestamp": row.at} if row.at else {}),
        "Version": "1",
        "EventId": row.decision_id,
        "a": [place + 1 for place in order],
        "c": {**_shared(row.observation), "_multi": [_example(items[at]) for at in kept]},
        "p": _in_order(row, [kept[place] for place in order]),
        "VWState": {"m": row.model_version},
        **({"_encoded": True} if row.encoded else {}),
    }
    return msgspec.json.encode(line)


def _shared(observation: Observation) -> dict[str, Any]:
    return {"Observation": observation.vector} if observation.vector else {}


def _example(item: ActionItem) -> dict[str, Any]:
    return {"_tag": item.id} | (
        {"Action": item.vector} if item.vector is not None else {_IDS: {item.id: 1}}
    )


def _in_order(row: LogRow, order: Sequence[int]) -> list[float | None]:
    if row.probabilities is None:
        return [row.propensity]
    return [row.probabilities[at] for at in order]
