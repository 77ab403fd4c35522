"""Answers that no agent drew: the baseline of a lower mode, and the policy's declared fallback.

Safety holds here too: an action that the policy's safety denies is never answered, whoever asked for it.
The propensity is exact: 1 for a fixed action, 1 / n for a uniform draw from n.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from msgspec import structs

from agent_core.functional.choice import sample, uniform_from
from agent_core.types import Doubles, Floats, Mask
from service.approvals import envelope
from service.decisions.choice import Available, Choice
from service.decisions.schemas import ActRequest, Reason
from service.errors import InvalidError
from service.policies.served import ServedSets


def fall_back(
    served: ServedSets,
    request: ActRequest,
    state: Floats,
    available: Available,
    excluded: Mask | None,
    seed: int,
    why: str,
) -> Choice:
    """The policy's fallback for a request that no agent can answer; `why` names the reason.

    Raises:
        InvalidError: ActionSetEmpty, no action is eligible.
    """
    eligible = served.agent.allowed(state, available.actions, excluded)
    if not eligible.any():
        return empty_set(served, request, state, available, excluded)
    return among(
        served, request, available, _unasked(served, state, available, eligible), seed, why
    )


def _unasked(served: ServedSets, state: Floats, available: Available, allowed: Mask) -> Mask:
    """`[A]` bool: what of the `allowed` actions may be done without a person."""
    rule = served.config.approval
    if rule is None:
        return allowed
    fulfils = envelope.within(rule, state, available.actions.features)
    return envelope.fallback_eligible(allowed, fulfils)


def among(
    served: ServedSets,
    request: ActRequest,
    available: Available,
    eligible: Mask,
    seed: int,
    why: str,
) -> Choice:
    """The policy's fallback from the `eligible` actions, `[A]` bool, of which there is one at least."""
    if served.config.fallback == "uniform":
        return _uniform(eligible, seed, why)
    wanted = _baseline_of(request) if served.config.fallback == "baseline" else None
    return _fixed(available, eligible, wanted, "fallback", why)


def held_back(
    served: ServedSets,
    request: ActRequest,
    state: Floats,
    available: Available,
    excluded: Mask | None,
    seed: int,
) -> Choice:
    """What the declared holdback gets: no version decides for it.

    Raises:
        InvalidError: ActionSetEmpty, no action is eligible.
    """
    eligible = served.agent.allowed(state, available.actions, excluded)
    if not eligible.any():
        return empty_set(served, request, state, available, excluded)
    rule = served.config.rollout.holdback
    if rule is None or rule.kind == "baseline":
        return baseline(served, request, state, available, excluded)
    eligible = _unasked(served, state, available, eligible)
    return structs.replace(_uniform(eligible, seed, ""), reason="baseline", fallback=None)


def baseline(
    served: ServedSets,
    request: ActRequest,
    state: Floats,
    available: Available,
    excluded: Mask | None,
    value: Doubles | None = None,
) -> Choice:
    """The request's baseline action, or its first, for a mode that does not let the policy decide.

    Raises:
        InvalidError: ActionSetEmpty, no action is eligible.
    """
    eligible = served.agent.allowed(state, available.actions, excluded)
    if not eligible.any():
        raise nothing_left(available, excluded)
    return _fixed(available, eligible, _baseline_of(request), "baseline", None, value)


def empty_set(
    served: ServedSets,
    request: ActRequest,
    state: Floats,
    available: Available,
    excluded: Mask | None,
) -> Choice:
    """The answer when exclusion and safety left nothing: refused, or the baseline if the policy says so
    and safety does not deny it.

    Raises:
        InvalidError: ActionSetEmpty.
    """
    ids, wanted = available.actions.ids, _baseline_of(request)
    if served.config.empty_action_set == "baseline" and wanted in ids:
        safe = served.agent.allowed(state, available.actions, None)
        if safe[ids.index(wanted)]:
            return _fixed(available, safe, wanted, "fallback", "empty_action_set")
    raise nothing_left(available, excluded)


def _baseline_of(request: ActRequest) -> str | None:
    # That it names one of the actions, and so is no vector, was checked when the request was read.
    return cast("str | None", request.baseline_action)


def _uniform(eligible: Mask, seed: int, why: str) -> Choice:
    probabilities = eligible / eligible.sum()
    index = sample(probabilities, uniform_from(seed))
    return Choice(index, float(probabilities[index]), probabilities, None, "fallback", True, why)


def _fixed(
    available: Available,
    eligible: Mask,
    wanted: str | None,
    reason: Reason,
    why: str | None,
    value: Doubles | None = None,
) -> Choice:
    index = 0 if wanted is None else available.actions.ids.index(wanted)
    if not eligible[index]:
        index, reason = int(eligible.argmax()), "safety_override"
    probabilities = np.zeros(len(eligible))
    probabilities[index] = 1.0
    return Choice(index, 1.0, probabilities, value, reason, fallback=why)


def nothing_left(available: Available, excluded: Mask | None) -> InvalidError:
    """The refusal of an action set of which nothing is left."""
    total, out = len(available.actions), 0 if excluded is None else int(excluded.sum())
    detail = f"{total} actions given, {out} excluded, the rest removed by safety; send an eligible action"
    pointer = "/excluded_actions" if out else "/actions"
    return InvalidError(pointer, detail, "ActionSetEmpty", "empty")
