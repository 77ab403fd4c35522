"""One line of a JSONL log: what it may say, how it becomes a logged step, and back.

    {"decision_id": "d1", "at": "2026-01-31T12:00:00Z", "observation": {"vector": [0.5, 1]},
     "actions": [{"id": "a", "vector": [1, 0]}, {"id": "b", "vector": [0, 1]}], "action_id": "a",
     "propensity": 0.8, "probabilities": [0.8, 0.2], "reward": 1.0}

Other forms of logs become such rows first, so that one place checks them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import numpy as np
from msgspec import Meta

from agent_core.types import ActionSet, Doubles, Mask
from service.clock import parse_ms, rfc3339
from service.decisions.repository import EpisodePlace
from service.decisions.schemas import ActionItem, Id, Observation, Strict
from service.errors import InvalidError
from service.evaluation.plain import PlainEncoding
from service.evaluation.steps import LoggedStep
from service.feedback.schemas import Amount, Cost
from service.policies.encoding import CONTINUOUS_ID, Encoding, set_of_one

ROUNDING: Final = 1e-3
"""Logs round probabilities: what is off by less is one number, and what sums to nearly 1 is scaled to 1."""

_LEAST: Final = 1e-100
"""Propensities below it are mistakes, and the square of their inverse is more than a double holds."""


class Place(Strict, frozen=True):
    """Where in an episode a decision stands; steps count from 0."""

    episode_id: Id
    step: Annotated[int, Meta(ge=0, le=1_000_000_000)]


class LogRow(Strict, frozen=True):
    """One decision and its reward. `encoded`: whether vectors are those that a policy saw, so that none encodes them
    again. `propensity` and `reward` may be absent here only so that their absence can be told in words."""

    decision_id: Id
    observation: Observation
    at: str | None = None
    actions: list[Id | ActionItem] | None = None
    action_id: Id | None = None
    value: list[float] | None = None
    propensity: float | None = None
    probabilities: list[float] | None = None
    excluded_actions: list[Id] = []
    reward: Amount | None = None
    cost: Cost = 0.0
    components: dict[str, Amount] = {}
    episode: Place | None = None
    terminated: bool = False
    model_version: str = ""
    target_probabilities: list[float] | None = None
    encoded: bool = False


RowEncoding = Encoding | PlainEncoding
"""How rows become vectors: as a policy does it, or without any."""


# -- reading ------------------------------------------------------------------------------------


def step_of(row: LogRow, encoding: RowEncoding, where: str) -> LoggedStep:
    """The step that a row tells of; `where` names its place for people.

    Raises:
        InvalidError: it contradicts itself, lacks what evaluation needs, or does not fit the features.
    """
    propensity, reward = _needed(row)
    encoding = PlainEncoding() if row.encoded else encoding
    actions, action = _chosen(row, encoding)
    return LoggedStep(
        row=where,
        decision_id=row.decision_id,
        at_ms=_at(row.at),
        state=encoding.state(row.observation),
        actions=actions,
        action=action,
        propensity=propensity,
        reward=reward,
        cost=row.cost,
        allowed=_allowed(row, actions, action),
        behaviour=_behaviour(row, actions, action),
        components=row.components,
        place=EpisodePlace(row.episode.episode_id, row.episode.step) if row.episode else None,
        is_terminated=row.terminated,
        model_version=row.model_version,
        target=_probabilities(row.target_probabilities, actions, "/target_probabilities"),
    )


def _needed(row: LogRow) -> tuple[float, float]:
    """Propensity and reward, which only a complete row has."""
    if row.propensity is None:
        raise InvalidError(
            "/propensity",
            "it is missing: the probability with which the action was chosen; log it when deciding, it cannot be"
            " made up later",
            field_code="required",
        )
    if not _LEAST <= row.propensity < math.inf:
        raise InvalidError(
            "/propensity",
            f"{row.propensity:g} found; what was done had a probability above {_LEAST:g}; log that of the action taken",
            field_code="out_of_range",
        )
    if row.reward is None:
        detail = (
            "it is missing; send the default of the task where nothing came, or leave the row out"
        )
        raise InvalidError("/reward", detail, field_code="required")
    return row.propensity, row.reward


def _chosen(row: LogRow, encoding: RowEncoding) -> tuple[ActionSet, int]:
    if (row.value is None) == (row.actions is None):
        detail = "send either `actions` with `action_id`, or `value`, which is a continuous action"
        raise InvalidError("/actions", detail, field_code="one_form")
    if row.value is not None:
        return _from_box(row, row.value, encoding), 0
    assert row.actions is not None
    if isinstance(encoding, Encoding) and encoding.box is not None:
        detail = "the policy makes continuous actions; send `value`"
        raise InvalidError("/actions", detail, field_code="wrong_kind")
    return _from_set(row, row.actions, encoding)


def _from_box(row: LogRow, value: Sequence[float], encoding: RowEncoding) -> ActionSet:
    for name in ("action_id", "probabilities", "target_probabilities", "excluded_actions"):
        if getattr(row, name):
            detail = "a continuous action has none; leave it out"
            raise InvalidError(f"/{name}", detail, field_code="wrong_kind")
    if isinstance(encoding, PlainEncoding):
        return set_of_one(encoding.continuous(value))
    if encoding.box is None:
        detail = "the policy chooses from sets; send `actions` and `action_id`"
        raise InvalidError("/value", detail, field_code="wrong_kind")
    return set_of_one(encoding.continuous(value, "/value"))


def _from_set(
    row: LogRow, given: Sequence[str | ActionItem], encoding: RowEncoding
) -> tuple[ActionSet, int]:
    _check_distinct([one if isinstance(one, str) else one.id for one in given])
    actions = (
        encoding.actions(given)
        if isinstance(encoding, PlainEncoding)
        else encoding.actions(list(given))[0]
    )
    if row.action_id is None:
        raise InvalidError("/action_id", "it is missing; name what was done", field_code="required")
    if row.action_id not in actions.ids:
        detail = f"{row.action_id!r} is not among `actions`; log all that were available"
        raise InvalidError("/action_id", detail, "ActionNotShown", "not_shown")
    assert row.propensity is not None
    if row.propensity > 1:
        detail = (
            f"{row.propensity:g} found; a probability is at most 1; log that of the action taken"
        )
        raise InvalidError("/propensity", detail, field_code="out_of_range")
    return actions, actions.ids.index(row.action_id)


def _check_distinct(ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for at, action_id in enumerate(ids):
        if action_id in seen:
            detail = f"the id {action_id!r} appears earlier in the list; every action needs its own"
            raise InvalidError(f"/actions/{at}", detail, "DuplicateAction", "duplicate")
        seen.add(action_id)


def _behaviour(row: LogRow, actions: ActionSet, action: int) -> Doubles | None:
    found = _probabilities(row.probabilities, actions, "/probabilities")
    assert row.propensity is not None
    if found is not None and abs(found[action] - row.propensity) > ROUNDING * row.propensity:
        detail = (
            f"it gives {found[action]:g} to the action taken, and `propensity` is {row.propensity:g};"
            " log the probabilities with which was really drawn"
        )
        raise InvalidError("/probabilities", detail, field_code="contradiction")
    return found


def _probabilities(
    given: Sequence[float] | None, actions: ActionSet, pointer: str
) -> Doubles | None:
    if given is None:
        return None
    if len(given) != len(actions):
        detail = f"{len(given)} found for {len(actions)} actions; give one for each, in their order"
        raise InvalidError(pointer, detail, field_code="wrong_length")
    found, total = np.array(given, np.float64), math.fsum(given)
    if not all(0 <= one <= 1 + ROUNDING for one in given):
        detail = "a probability is from 0 to 1; mend the log"
        raise InvalidError(pointer, detail, field_code="out_of_range")
    if abs(total - 1) > ROUNDING:
        detail = f"they sum to {total:g}, not to 1; give those of all actions"
        raise InvalidError(pointer, detail, field_code="out_of_range")
    return found if abs(total - 1) < 1e-12 * len(given) else found / total


def _allowed(row: LogRow, actions: ActionSet, action: int) -> Mask | None:
    banned = set(row.excluded_actions)
    if unknown := banned.difference(actions.ids):
        detail = f"{min(unknown)!r} is not among `actions`"
        raise InvalidError("/excluded_actions", detail, "UnknownAction", "unknown_action")
    if actions.ids[action] in banned:
        detail = "it names the action that was taken; leave that one out"
        raise InvalidError("/excluded_actions", detail, field_code="contradiction")
    return (
        np.fromiter((i not in banned for i in actions.ids), bool, len(actions)) if banned else None
    )


def _at(moment: str | None) -> int:
    """Unix ms; 0 where the row does not say."""
    if moment is None:
        return 0
    try:
        return parse_ms(moment)
    except (ValueError, OverflowError):
        detail = f"{moment!r} is no RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z"
        raise InvalidError("/at", detail, field_code="not_a_time") from None


# -- writing ------------------------------------------------------------------------------------


def row_of(step: LoggedStep) -> LogRow:
    """The row that gives the same step again: its vectors are those that the policy saw."""
    shared: dict[str, Any] = {
        "decision_id": step.decision_id,
        "at": rfc3339(step.at_ms) if step.at_ms else None,
        "observation": Observation(vector=step.state.tolist()),
        "propensity": step.propensity,
        "reward": step.reward,
        "cost": step.cost,
        "components": dict(step.components),
        "episode": Place(episode_id=step.place.episode_id, step=step.place.step)
        if step.place
        else None,
        "terminated": step.is_terminated,
        "model_version": step.model_version,
        "encoded": True,
    }
    if step.actions.ids == (CONTINUOUS_ID,):
        return LogRow(value=step.actions.features[0].tolist(), **shared)
    return LogRow(**shared, **_set_of(step))


def _set_of(step: LoggedStep) -> Mapping[str, Any]:
    ids = step.actions.ids
    denied = np.zeros(len(ids), bool) if step.allowed is None else ~step.allowed
    return {
        "actions": [
            ActionItem(id=name, vector=features.tolist()) if len(features) else name
            for name, features in zip(ids, step.actions.features, strict=True)
        ],
        "action_id": ids[step.action],
        "probabilities": None if step.behaviour is None else step.behaviour.tolist(),
        "excluded_actions": [ids[at] for at in np.flatnonzero(denied)],
        "target_probabilities": None if step.target is None else step.target.tolist(),
    }
