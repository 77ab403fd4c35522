"""How one decision is made: request in, answer out. No clock, no Redis, no HTTP.

    request -> Encoding -> Agent.act -> answer
                              └─ cannot answer -> the policy's fallback, with its reason

The same functions recompute a recorded decision, so what is served and what is replayed cannot drift
apart; the joiner featurizes with the same `Encoding`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from agent_core.agent import seed_of
from agent_core.errors import EmptyActionSetError, NonFiniteScoresError
from agent_core.functional.choice import sample, uniform_from
from agent_core.types import ActionSet, Decision, Doubles, Floats, Mask
from service.clock import rfc3339
from service.decisions.schemas import (
    ActRequest,
    ActResponse,
    Assignment,
    ChosenAction,
    Ranked,
    Reason,
    ReasonsDetail,
)
from service.errors import InvalidError, ServiceError
from service.policies.served import Served

LIVE_ARM = "live"


class Available(Struct, frozen=True, eq=False, gc=False):
    """The available actions of one request, encoded and with their scorer's half."""

    actions: ActionSet
    prepared: Floats


def available_actions(served: Served, request: ActRequest) -> Available:
    """The request's actions; the scorer's half comes from the catalog where ids refer to it."""
    actions, rows = served.encoding.actions(request.actions)
    prepared = served.agent.prepare(actions) if rows is None else served.prepared.take(rows, 0)
    return Available(actions, prepared)


def excluded_mask(ids: tuple[str, ...], excluded: Sequence[str]) -> Mask | None:
    """`[A]` bool of the excluded actions, or None when nothing is excluded.

    Raises:
        InvalidError: an excluded id is not among the actions.
    """
    if not excluded:
        return None
    for at, action_id in enumerate(excluded):
        if action_id not in ids:
            detail = "the id is not among `actions`"
            raise InvalidError(f"/excluded_actions/{at}", detail, "UnknownAction", "unknown_action")
    banned = set(excluded)
    return np.fromiter((i in banned for i in ids), bool, len(ids))


# -- choice -------------------------------------------------------------------------------------


class Choice(Struct, frozen=True, eq=False, gc=False):
    """What is answered and why. `value` is None when no agent scored the actions."""

    index: int
    propensity: float
    probabilities: Doubles
    value: Doubles | None
    reason: Reason
    explored: bool = False
    fallback: str | None = None


def choose(
    served: Served, request: ActRequest, decision_id: str, state: Floats, available: Available
) -> Choice:
    """The action for one request, by the agent or, where none can answer, by the fallback."""
    excluded = excluded_mask(available.actions.ids, request.excluded_actions)
    seed = seed_of(decision_id, served.config.policy)
    if request.mode == "logging_only":
        return _baseline(request, available, excluded, "baseline")
    try:
        decision = served.agent.act(
            state,
            available.actions,
            available.prepared,
            seed=seed,
            excluded=excluded,
            explore=request.explore,
        )
    except NonFiniteScoresError:
        return fall_back(served, request, available, excluded, seed, "scores_not_finite")
    except EmptyActionSetError:
        if (
            served.config.empty_action_set == "baseline"
            and request.baseline_action in available.actions.ids
        ):
            return _baseline(request, available, None, "fallback", "empty_action_set")
        raise _nothing_left(available, excluded) from None
    if request.mode != "online":
        return _baseline(request, available, excluded, "baseline", value=decision.value)
    return _by_agent(decision)


def too_late(served: Served, request: ActRequest, decision_id: str, available: Available) -> Choice:
    """The fallback for a request whose deadline passed before it could be scored."""
    excluded = excluded_mask(available.actions.ids, request.excluded_actions)
    seed = seed_of(decision_id, served.config.policy)
    return fall_back(served, request, available, excluded, seed, "deadline")


def _by_agent(decision: Decision) -> Choice:
    explored = not decision.is_greedy
    return Choice(
        decision.index,
        decision.propensity,
        decision.probabilities,
        decision.value,
        "explore" if explored else "policy",
        explored,
    )


def fall_back(
    served: Served,
    request: ActRequest,
    available: Available,
    excluded: Mask | None,
    seed: int,
    why: str,
) -> Choice:
    """The policy's declared fallback, with the exact propensity that it has."""
    if served.config.fallback != "uniform":
        wanted = request if served.config.fallback == "baseline" else None
        return _baseline(wanted, available, excluded, "fallback", why)
    allowed = (
        np.ones(len(available.actions)) if excluded is None else (~excluded).astype(np.float64)
    )
    probabilities = allowed / allowed.sum()
    index = sample(probabilities, uniform_from(seed))
    return Choice(index, float(probabilities[index]), probabilities, None, "fallback", True, why)


def _baseline(
    request: ActRequest | None,
    available: Available,
    excluded: Mask | None,
    reason: Reason,
    why: str | None = None,
    value: Doubles | None = None,
) -> Choice:
    ids = available.actions.ids
    index = next((i for i in range(len(ids)) if excluded is None or not excluded[i]), 0)
    if request is not None and request.baseline_action is not None:
        if request.baseline_action not in ids:
            detail = "the id is not among `actions`"
            raise InvalidError("/baseline_action", detail, "UnknownAction", "unknown_action")
        index = ids.index(request.baseline_action)
    probabilities = np.zeros(len(ids))
    probabilities[index] = 1.0
    return Choice(index, 1.0, probabilities, value, reason, fallback=why)


def _nothing_left(available: Available, excluded: Mask | None) -> ServiceError:
    total, out = len(available.actions), 0 if excluded is None else int(excluded.sum())
    detail = f"{total} actions given, {out} excluded, the rest removed by safety; send an eligible action"
    pointer = "/excluded_actions" if out else "/actions"
    return InvalidError(pointer, detail, "ActionSetEmpty", "empty")


# -- answer -------------------------------------------------------------------------------------


def answer(
    served: Served,
    request: ActRequest,
    decision_id: str,
    available: Available,
    choice: Choice,
    deadline_ms: int,
) -> ActResponse:
    """The response that is sent and recorded."""
    ids = available.actions.ids
    return ActResponse(
        decision_id=decision_id,
        policy=served.config.policy,
        model_version=served.label,
        config_hash=served.config_hash,
        feature_schema=served.feature_schema,
        action=ChosenAction(ids[choice.index], choice.index),
        propensity=choice.propensity,
        ranking=_ranking(ids, choice),
        reason=choice.reason,
        reasons_detail=ReasonsDetail(choice.explored, choice.fallback),
        assignment=Assignment(LIVE_ARM, 1.0, choice.propensity),
        mode=request.mode,
        activated=not request.defer_activation,
        reward_deadline=rfc3339(deadline_ms),
    )


def _ranking(ids: tuple[str, ...], choice: Choice) -> list[Ranked]:
    """Every available action in the caller's order: position is identity, and no sort is paid for."""
    probabilities = choice.probabilities.tolist()
    if choice.value is None:
        return [Ranked(i, p, None) for i, p in zip(ids, probabilities, strict=True)]
    return list(map(Ranked, ids, probabilities, choice.value.tolist()))
