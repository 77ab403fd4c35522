"""How one continuous action is made: request in, answer out. No clock, no Redis, no HTTP.

    request -> Encoding -> BoxAgent.act -> answer
                              └─ cannot answer -> the policy's fallback, with its reason

The counterpart of `logic`, for policies whose actions do not come as sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from msgspec import Struct, structs

from agent_core.agent import seed_of
from agent_core.errors import NonFiniteScoresError
from agent_core.functional.densities import uniform_density
from agent_core.types import Box, Floats
from service.clock import rfc3339
from service.decisions import arms
from service.decisions.logic import LIVE_ARM
from service.decisions.schemas import (
    ActRequest,
    Assignment,
    BoxActResponse,
    ContinuousAction,
    HistoryNote,
    Reason,
    ReasonsDetail,
)
from service.errors import InvalidError
from service.policies.served import Arm, Served, ServedBox, Serving


class BoxChoice(Struct, frozen=True, eq=False, gc=False):
    """What is answered and why. `density`: infinite where the action was not drawn."""

    action: Floats
    density: float
    reason: Reason
    explored: bool = False
    fallback: str | None = None

    @property
    def propensity(self) -> float | None:
        """The density, as answers say it."""
        return self.density if math.isfinite(self.density) else None


class AssignedBox(Struct, frozen=True, eq=False, gc=False):
    """A choice and the arm that made it."""

    choice: BoxChoice
    model_version: str
    assignment: Assignment


def decide(
    serving: Serving, request: ActRequest, decision_id: str, state: Floats, *, is_late: bool
) -> AssignedBox:
    """What is answered. `is_late`: whether the deadline passed before the agent could be asked.

    The density is that of the arm alone: a weight with it is right on average within every arm, and so over
    all of them.

    Raises:
        InvalidError: as `choose`.
    """
    make = too_late if is_late else choose
    if serving.is_plain or request.mode != "online":
        choice = make(serving.live, request, decision_id, state)
        assigned = Assignment(LIVE_ARM, 1.0, choice.propensity)
        return AssignedBox(choice, serving.live.label, assigned)
    arm = serving.arms[arms.drawn(serving, arms.subject_of(request, decision_id))]
    choice = _of_arm(arm, serving, request, decision_id, state, make)
    assigned = arms.assignment(serving, arm, choice.propensity)
    return AssignedBox(choice, arm.served.label, assigned)


_Make = Callable[[Served, ActRequest, str, Floats], BoxChoice]


def _of_arm(
    arm: Arm,
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    state: Floats,
    make: _Make,
) -> BoxChoice:
    served = arm.served
    assert isinstance(served, ServedBox)
    if arm.name in ("live", "canary"):
        return make(served, request, decision_id, state)
    wanted, seed = _checked(served, request), seed_of(decision_id, served.config.policy)
    if arm.name == "holdback":
        rule = served.config.rollout.holdback
        if rule is None or rule.kind == "baseline":
            return BoxChoice(wanted, math.inf, "baseline")
        return BoxChoice(*uniform(_box(served), seed), "baseline", explored=True)
    why = f"tripped:{serving.tripped}"
    if not arm.decides:
        return _fall_back(served, wanted, seed, why)
    choice = make(served, request, decision_id, state)
    return structs.replace(choice, reason="fallback", fallback=why)


def choose(served: Served, request: ActRequest, decision_id: str, state: Floats) -> BoxChoice:
    """The action for one request, by the agent or, where it cannot answer, by the fallback.

    Raises:
        InvalidError: the request speaks of action sets, or of another box.
    """
    assert isinstance(served, ServedBox)
    wanted = _checked(served, request)
    if request.mode != "online":
        return BoxChoice(wanted, math.inf, "baseline")
    seed = seed_of(decision_id, served.config.policy)
    try:
        decision = served.agent.act(state, seed=seed, explore=request.explore)
    except NonFiniteScoresError:
        return _fall_back(served, wanted, seed, "scores_not_finite")
    explored = not np.array_equal(decision.action, decision.mean)
    reason: Reason = "explore" if explored else "policy"
    return BoxChoice(decision.action, decision.density, reason, explored)


def too_late(served: Served, request: ActRequest, decision_id: str, state: Floats) -> BoxChoice:
    """The fallback for a request whose deadline passed before the agent was asked.

    Raises:
        InvalidError: as `choose`.
    """
    assert isinstance(served, ServedBox)
    wanted = _checked(served, request)
    return _fall_back(served, wanted, seed_of(decision_id, served.config.policy), "deadline")


def _checked(served: ServedBox, request: ActRequest) -> Floats:
    """The request's baseline action, or the centre of the box if it names none."""
    box, space = _box(served), request.action_space
    for name, given in (
        ("actions", request.actions),
        ("excluded_actions", request.excluded_actions or None),
    ):
        if given is not None:
            detail = "this policy makes continuous actions and takes no sets; leave it out"
            raise InvalidError(f"/{name}", detail, field_code="wrong_kind")
    if space is not None and (tuple(space.low), tuple(space.high)) != (box.low, box.high):
        detail = "it is not the policy's box; leave it out, or change `agent.actions`"
        raise InvalidError("/action_space", detail, field_code="mismatch")
    match request.baseline_action:
        case None:
            return centre(box)
        case str():
            detail = "this policy makes continuous actions; send a vector"
            raise InvalidError("/baseline_action", detail, field_code="wrong_kind")
        case vector:
            return served.encoding.continuous(vector, "/baseline_action")


def _box(served: ServedBox) -> Box:
    assert served.encoding.box is not None
    return served.encoding.box


def centre(box: Box) -> Floats:
    """`[D]`: half-way between the limits."""
    middle: Floats = ((np.array(box.low) + np.array(box.high)) / 2).astype(np.float32)
    return middle


def _fall_back(served: ServedBox, wanted: Floats, seed: int, why: str) -> BoxChoice:
    box = _box(served)
    match served.config.fallback:
        case "uniform":
            action, density = uniform(box, seed)
            return BoxChoice(action, density, "fallback", True, why)
        case "first":
            wanted = centre(box)
    return BoxChoice(wanted, math.inf, "fallback", fallback=why)


def uniform(box: Box, seed: int) -> tuple[Floats, float]:
    """An action `[D]` drawn from the whole box, and its density, which is 1 / volume."""
    low, high = np.array(box.low), np.array(box.high)
    drawn = np.random.Generator(np.random.PCG64(seed)).uniform(low, high)
    # Rounding to float32 may leave the box by half of its last place.
    action = drawn.astype(np.float32).clip(low.astype(np.float32), high.astype(np.float32))
    return action, uniform_density(box)


def answer(
    served: Served,
    request: ActRequest,
    decision_id: str,
    assigned: AssignedBox,
    deadline_ms: int,
    note: HistoryNote | None,
) -> BoxActResponse:
    """The response that is sent and recorded. `served`: the live version. `note`: what is special about the
    history it was made with."""
    choice = assigned.choice
    return BoxActResponse(
        decision_id=decision_id,
        policy=served.config.policy,
        model_version=assigned.model_version,
        config_hash=served.config_hash,
        feature_schema=served.feature_schema,
        action=ContinuousAction(choice.action.tolist()),
        propensity=choice.propensity,
        reason=choice.reason,
        reasons_detail=ReasonsDetail(choice.explored, choice.fallback, note),
        assignment=assigned.assignment,
        mode=request.mode,
        activated=not request.defer_activation,
        reward_deadline=rfc3339(deadline_ms),
    )
