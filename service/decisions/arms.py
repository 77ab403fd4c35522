"""Which arm decides for a subject, and the exact probability of what came of it.

Arms are drawn by a hash of the subject with the rollout's id: a subject stays where it is, another rollout draws
anew, and a growing canary only takes in subjects. A decision without a subject or an episode is a
subject of its own. The probability that is logged is that of the whole lottery, arms included:

    propensity(a) = sum over arms of P(arm) * P(a in that arm)

so that an evaluation need not know that there were arms. In an episode it is that of the arm alone: every step of it
is in the same arm, so what the steps' probabilities are multiplied to is true only within the arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from agent_core.agent import seed_of
from agent_core.functional.choice import uniform_from
from agent_core.types import Doubles
from service.decisions.schemas import ActRequest, ArmShare, Assignment
from service.policies.served import Arm, Serving

_HOLDBACK: Final = "holdback"


def subject_of(request: ActRequest, decision_id: str) -> str:
    """What stays together in one arm."""
    if request.subject is not None:
        return request.subject
    return request.episode.episode_id if request.episode is not None else decision_id


def drawn(serving: Serving, subject: str) -> int:
    """The position of the arm that decides for `subject`."""
    if len(serving.arms) == 1:
        return 0
    names = [arm.name for arm in serving.arms]
    policy = serving.live.config.policy
    if _HOLDBACK in names:
        # A salt of its own: who is held back stays so from one rollout to the next.
        held = names.index(_HOLDBACK)
        if _uniform(subject, f"{policy}/{_HOLDBACK}") < serving.arms[held].probability:
            return held
    if "canary" not in names:
        return names.index("live")
    live, canary = names.index("live"), names.index("canary")
    live_share, share = serving.arms[live].probability, serving.arms[canary].probability
    is_canary = _uniform(subject, serving.rollout_id) < share / (share + live_share)
    return canary if is_canary else live


def _uniform(subject: str, salt: str) -> float:
    return uniform_from(seed_of(subject, salt))


def mixed(arms: Sequence[Arm], probabilities: Sequence[Doubles]) -> Doubles:
    """`[A]`: the probability of every action over `arms`, from the `[A]` of each; of one arm its own."""
    if len(arms) == 1:
        return probabilities[0]
    total = np.zeros_like(probabilities[0])
    for arm, of_arm in zip(arms, probabilities, strict=True):
        total += arm.probability * of_arm
    return total


def assignment(serving: Serving, arm: Arm, arm_propensity: float | None) -> Assignment:
    """What the answer says of the arm that decided."""
    if serving.has_one_arm:
        return Assignment(arm.name, 1.0, arm_propensity)
    shares = [
        ArmShare(one.name, one.probability, one.served.label if one.decides else "")
        for one in serving.arms
    ]
    return Assignment(arm.name, arm.probability, arm_propensity, serving.rollout_id, shares)
