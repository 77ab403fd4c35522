"""How one choice from a set is made: request in, answer out. No clock, no Redis, no HTTP.

    request -> Encoding -> Agent.act -> answer
                              └─ cannot answer -> the policy's fallback, with its reason

The same functions recompute a recorded decision, so what is served and what is replayed cannot drift
apart; the joiner featurizes with the same `Encoding`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent_core.agent import seed_of
from agent_core.errors import EmptyActionSetError, NonFiniteScoresError
from agent_core.types import Decision, Floats, Mask
from service.clock import rfc3339
from service.decisions import fallback
from service.decisions.choice import Available, Choice
from service.decisions.schemas import (
    ActRequest,
    ActResponse,
    Assignment,
    ChosenAction,
    HistoryNote,
    Ranked,
    ReasonsDetail,
)
from service.errors import InvalidError
from service.policies.served import ServedSets

LIVE_ARM = "live"


def available_actions(served: ServedSets, request: ActRequest) -> Available:
    """The request's actions; the scorer's half comes from the catalog where ids refer to it.

    Raises:
        InvalidError: they are missing or wrong.
    """
    if request.actions is None or request.action_space is not None:
        raise _not_a_set(request)
    actions, rows = served.encoding.actions(request.actions)
    prepared = served.agent.prepare(actions) if rows is None else served.prepared.take(rows, 0)
    return Available(actions, prepared)


def _not_a_set(request: ActRequest) -> InvalidError:
    if request.action_space is not None:
        detail = "this policy chooses from a set; leave it out, and send `actions`"
        return InvalidError("/action_space", detail, field_code="wrong_kind")
    detail = "this policy chooses from a set; send the available actions"
    return InvalidError("/actions", detail, field_code="required")


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


def choose(
    served: ServedSets, request: ActRequest, decision_id: str, state: Floats, available: Available
) -> Choice:
    """The action for one request, by the agent or, where none can answer, by the fallback.

    Raises:
        InvalidError: an id names no action, or no action is eligible.
    """
    excluded = _checked(request, available)
    if request.mode == "logging_only":
        return fallback.baseline(served, request, state, available, excluded)
    seed = seed_of(decision_id, served.config.policy)
    episode = request.episode
    try:
        decision = served.agent.act(
            state,
            available.actions,
            available.prepared,
            seed=seed,
            excluded=excluded,
            explore=request.explore,
            episode=seed_of(episode.episode_id, served.config.policy)
            if episode is not None and served.is_consistent
            else None,
        )
    except NonFiniteScoresError:
        why = "scores_not_finite"
        return fallback.fall_back(served, request, state, available, excluded, seed, why)
    except EmptyActionSetError:
        return fallback.empty_set(served, request, state, available, excluded)
    if request.mode != "online":
        return fallback.baseline(served, request, state, available, excluded, decision.value)
    return _by_agent(decision)


def too_late(
    served: ServedSets, request: ActRequest, decision_id: str, state: Floats, available: Available
) -> Choice:
    """The fallback for a request whose deadline passed before it could be scored."""
    excluded = _checked(request, available)
    seed = seed_of(decision_id, served.config.policy)
    return fallback.fall_back(served, request, state, available, excluded, seed, "deadline")


def _checked(request: ActRequest, available: Available) -> Mask | None:
    ids = available.actions.ids
    if request.baseline_action is not None and request.baseline_action not in ids:
        detail = "the id is not among `actions`"
        raise InvalidError("/baseline_action", detail, "UnknownAction", "unknown_action")
    return excluded_mask(ids, request.excluded_actions)


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


# -- answer -------------------------------------------------------------------------------------


def answer(
    served: ServedSets,
    request: ActRequest,
    decision_id: str,
    available: Available,
    choice: Choice,
    deadline_ms: int,
    note: HistoryNote | None,
) -> ActResponse:
    """The response that is sent and recorded. `note`: what is special about the history it was made with."""
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
        reasons_detail=ReasonsDetail(choice.explored, choice.fallback, note),
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
