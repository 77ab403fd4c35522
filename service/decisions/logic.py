"""How one choice from a set is made: request in, answer out. No clock, no Redis, no HTTP.

    request -> Encoding -> the subject's arm -> Agent.act -> answer
                                                   └─ cannot answer -> the policy's fallback, with its reason

The same functions recompute a recorded decision, so what is served and what is replayed cannot drift
apart; the joiner featurizes with the same `Encoding`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import structs

from agent_core.agent import seed_of
from agent_core.errors import EmptyActionSetError, NonFiniteScoresError
from agent_core.types import Decision, Doubles, Floats, Mask
from service.clock import rfc3339
from service.decisions import arms, fallback, guard
from service.decisions.choice import Assigned, Available, Choice
from service.decisions.guard import Guarded, guarded
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
from service.policies.encoding import Encoding
from service.policies.served import Arm, Served, ServedSets, Serving

LIVE_ARM: Final = "live"


def available_actions(encoding: Encoding, request: ActRequest) -> Available:
    """The request's actions.

    Raises:
        InvalidError: they are missing or wrong.
    """
    if request.actions is None or request.action_space is not None:
        raise _not_a_set(request)
    return Available(*encoding.actions(request.actions))


def prepared(served: ServedSets, available: Available) -> Floats:
    """`[A, H]`: the scorer's half of the actions, from the catalog where ids refer to it."""
    if available.rows is None:
        return served.agent.prepare(available.actions)
    return served.prepared.take(available.rows, 0)


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
            detail = "the id is not among `actions`; send ids of that list alone"
            raise InvalidError(f"/excluded_actions/{at}", detail, "UnknownAction", "unknown_action")
    banned = set(excluded)
    return np.fromiter((i in banned for i in ids), bool, len(ids))


# -- choice -------------------------------------------------------------------------------------


def decide(
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    state: Floats,
    available: Available,
    *,
    is_late: bool,
) -> Assigned:
    """What is answered. `is_late`: whether the deadline passed before the actions could be scored.

    The probabilities are those of all arms together; in an episode, of the arm alone.

    Raises:
        InvalidError: an id names no action, or no action is eligible.
    """
    make = too_late if is_late else choose
    if serving.is_plain or request.mode != "online":
        live = serving.live
        choice = make(live, request, decision_id, state, available)
        return Assigned(choice, live.label, Assignment(LIVE_ARM, 1.0, choice.propensity))
    drawn = serving.arms[arms.drawn(serving, arms.subject_of(request, decision_id))]
    # All steps of an episode share their arm, so their probabilities multiply only within it.
    together = (drawn,) if request.episode is not None else serving.arms
    choices = [
        _of_arm(arm, serving, request, decision_id, state, available, make) for arm in together
    ]
    judged = [
        _guarded(arm, serving, request, decision_id, state, available, choice)
        for arm, choice in zip(together, choices, strict=True)
    ]
    own = judged[together.index(drawn)]
    mixed = arms.mixed(together, [one.choice.probabilities for one in judged])
    assigned = _assigned(serving, drawn, own.choice, mixed)
    if own.proposal is None:
        return assigned
    # As likely as if nobody had to be asked: that is how the policy came to propose it.
    mixed = arms.mixed(together, [one.probabilities for one in choices])
    proposal = _assigned(serving, drawn, own.proposal, mixed)
    return structs.replace(assigned, proposal=proposal, causes=own.causes)


def _assigned(serving: Serving, arm: Arm, choice: Choice, mixed: Doubles) -> Assigned:
    assignment = arms.assignment(serving, arm, choice.propensity)
    return Assigned(guard.rescaled(choice, mixed), arm.served.label, assignment)


def _guarded(
    arm: Arm,
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    state: Floats,
    available: Available,
    choice: Choice,
) -> Guarded:
    """The choice of an arm as far as no person is needed; of a tripped policy's, with why it is so."""
    served = arm.served
    assert isinstance(served, ServedSets)
    excluded = excluded_mask(available.actions.ids, request.excluded_actions)
    found = guarded(served, request, decision_id, state, available, excluded, choice)
    if arm.name != "fallback" or not arm.decides:
        return found
    why, proposal = f"tripped:{serving.tripped}", found.proposal
    instead = structs.replace(found.choice, reason="fallback", fallback=why)
    if proposal is not None:
        proposal = structs.replace(proposal, fallback=why)
    return Guarded(instead, proposal, found.causes)


def _of_arm(
    arm: Arm,
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    state: Floats,
    available: Available,
    make: _Make,
) -> Choice:
    """What one arm would answer: its version's choice, the holdback's, or that of a tripped policy."""
    served = arm.served
    assert isinstance(served, ServedSets)
    excluded = _checked(request, available)
    seed = seed_of(decision_id, served.config.policy)
    if arm.name == "holdback":
        return fallback.held_back(served, request, state, available, excluded, seed)
    if not arm.decides:
        why = f"tripped:{serving.tripped}"
        return fallback.fall_back(served, request, state, available, excluded, seed, why)
    return make(served, request, decision_id, state, available)


def choose(
    served: Served, request: ActRequest, decision_id: str, state: Floats, available: Available
) -> Choice:
    """The action for one request, by the agent or, where none can answer, by the fallback.

    Raises:
        InvalidError: an id names no action, or no action is eligible.
    """
    assert isinstance(served, ServedSets)
    excluded = _checked(request, available)
    if request.mode == "logging_only":
        return fallback.baseline(served, request, state, available, excluded)
    seed = seed_of(decision_id, served.config.policy)
    try:
        decision = served.agent.act(
            state,
            available.actions,
            prepared(served, available),
            seed=seed,
            excluded=excluded,
            explore=request.explore,
            episode=opinion_of(served, request),
        )
    except NonFiniteScoresError:
        why = "scores_not_finite"
        return fallback.fall_back(served, request, state, available, excluded, seed, why)
    except EmptyActionSetError:
        return fallback.empty_set(served, request, state, available, excluded)
    if request.mode != "online":
        return fallback.baseline(served, request, state, available, excluded, decision.value)
    least = served.config.trips.least_confidence
    if least and decision.probabilities.max() < least:
        why = "confidence"
        return fallback.fall_back(served, request, state, available, excluded, seed, why)
    return _by_agent(decision)


def opinion_of(served: ServedSets, request: ActRequest) -> int | None:
    """The seed that all choices of an episode share; None where each has its own."""
    if request.episode is None or not served.is_consistent:
        return None
    return seed_of(request.episode.episode_id, served.config.policy)


def too_late(
    served: Served, request: ActRequest, decision_id: str, state: Floats, available: Available
) -> Choice:
    """The fallback for a request whose deadline passed before it could be scored."""
    assert isinstance(served, ServedSets)
    excluded = _checked(request, available)
    seed = seed_of(decision_id, served.config.policy)
    return fallback.fall_back(served, request, state, available, excluded, seed, "deadline")


_Make = Callable[[Served, ActRequest, str, Floats, Available], Choice]


def _checked(request: ActRequest, available: Available) -> Mask | None:
    ids = available.actions.ids
    if request.baseline_action is not None and request.baseline_action not in ids:
        detail = "the id is not among `actions`; send one of them, or leave it out"
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
    served: Served,
    request: ActRequest,
    decision_id: str,
    available: Available,
    assigned: Assigned,
    deadline_ms: int,
    note: HistoryNote | None,
) -> ActResponse:
    """The response that is sent and recorded. `served`: the live version. `note`: what is special about the
    history it was made with."""
    ids, choice = available.actions.ids, assigned.choice
    return ActResponse(
        decision_id=decision_id,
        policy=served.config.policy,
        model_version=assigned.model_version,
        config_hash=served.config_hash,
        feature_schema=served.feature_schema,
        action=ChosenAction(ids[choice.index], choice.index),
        propensity=choice.propensity,
        ranking=_ranking(ids, choice),
        reason=choice.reason,
        reasons_detail=ReasonsDetail(choice.explored, choice.fallback, note),
        assignment=assigned.assignment,
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
