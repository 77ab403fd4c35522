"""Which proposals need a person, and how likely each action is while no person is asked. Pure arithmetic.

    p: the policy's own probabilities, q: those of its fallback, inside: what needs no person
    composed = p * inside + (p of everything outside) * q

is the exact distribution of what is done at once if the proposal is drawn from p, and the fallback, drawn
from q *independently*, stands in for a proposal outside. The two draws must not share their random number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.types import Doubles, Floats, Mask
from service.approvals.rule import ApprovalRule

LOW_CONFIDENCE: Final = "least_confidence"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """`needs_person`: whether the proposal lies outside, and the fallback might do anything else. `composed`: `[A]`, sums to 1: how likely each action is
    taken while no person says otherwise. `outside`: in [0, 1], how likely a proposal needs a person."""

    needs_person: bool
    composed: Doubles
    outside: float


def within(rule: ApprovalRule, state: Floats, actions: Floats) -> Mask:
    """`[A]` bool: the actions that fulfil every condition, for `state` `[S]` and represented `actions` `[A, D]`."""
    mask = np.ones(len(actions), np.bool_)
    for predicate in rule.envelope:
        mask &= predicate.holds(state, actions)
    return mask


def fallback_eligible(allowed: Mask, fulfils: Mask) -> Mask:
    """`[A]` bool: what the fallback may choose from. Among the allowed actions those that fulfil the envelope,
    and all of them only where none does: the fallback acts without a person too."""
    both = allowed & fulfils
    return both if both.any() else allowed


def inside(rule: ApprovalRule, probabilities: Doubles, fulfils: Mask) -> Mask:
    """`[A]` bool: what needs no person. Nothing, where the policy is not sure enough.

    `probabilities`: `[A]`, 0 for actions that are not allowed.
    """
    is_sure = probabilities.item(probabilities.argmax()) >= rule.least_confidence
    return fulfils if is_sure else np.zeros_like(fulfils)


def judge(probabilities: Doubles, needless: Mask, fallback: Doubles, proposal: int) -> Judged:
    """What becomes of `proposal`, an index drawn from `probabilities` `[A]`.

    `needless`: `[A]` bool, see `inside`. `fallback`: `[A]`, the distribution that the fallback is drawn from.
    """
    outside = float(probabilities[~needless].sum())
    composed: Doubles = probabilities * needless + outside * fallback
    # Nobody needs to be asked about what would be done anyway.
    is_certain = fallback.item(proposal) == 1.0
    return Judged(not needless.item(proposal) and not is_certain, composed, outside)


def causes(
    rule: ApprovalRule, state: Floats, proposal: Floats, probabilities: Doubles
) -> tuple[str, ...]:
    """Why a proposal, a represented action `[D]`, needs a person: the places in the rule, such as `envelope.1`."""
    row = proposal.reshape(1, -1)
    broken = [
        f"envelope.{at}"
        for at, predicate in enumerate(rule.envelope)
        if not predicate.holds(state, row).item(0)
    ]
    is_unsure = probabilities.item(probabilities.argmax()) < rule.least_confidence
    return (*broken, LOW_CONFIDENCE) if is_unsure else tuple(broken)
