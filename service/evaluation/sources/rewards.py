"""The parts that a reward was made of, and what it is under other weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from agent_core.features.near_miss import near_miss
from service.evaluation.errors import EvaluationError
from service.evaluation.sources.joined import Finished
from service.feedback.ledger import LedgerReward, aggregate, total
from service.policies.config import RewardRule

_LARGEST_WEIGHT = 1e12


def rule_under(rule: RewardRule, weights: Mapping[str, float]) -> RewardRule:
    """The same rule with `weights` in place of its own, for every part that has one; guards may get one, too.

    Raises:
        EvaluationError: a weight is for a part that the policy does not know, out of range, or missing.
    """
    for name in rule.components:
        if name not in weights:
            raise EvaluationError(
                f"component {name!r} has no weight; give it one, which may be 0: weights replace all of the policy's"
            )
    for name, weight in weights.items():
        if name not in rule.names:
            hint = near_miss(name, rule.names) or f"known: {', '.join(rule.names) or 'none'}"
            raise EvaluationError(f"weight of {name!r}: the policy declares no such part; {hint}")
        if not abs(weight) <= _LARGEST_WEIGHT:
            raise EvaluationError(
                f"weight of {name!r}: {weight:g} found, a number from {-_LARGEST_WEIGHT:g} to"
                f" {_LARGEST_WEIGHT:g} expected; rescale the weights"
            )
    return rule.model_copy(update={"components": dict(weights)})


def components_of(rewards: Sequence[LedgerReward], rule: RewardRule) -> dict[str, float]:
    """Every part by itself, aggregated like the total over the rewards that have it."""
    parts: dict[str, list[float]] = {}
    for reward in rewards:
        for name, amount in reward.components.items():
            parts.setdefault(name, []).append(amount)
    return {name: aggregate(rule.aggregation, amounts) for name, amounts in parts.items()}


def reward_under(finished: Finished, rule: RewardRule) -> float:
    """What the decision would have been closed with under `rule`, by which its rewards are valued.

    Raises:
        ValueError: it cannot be known: a reward came without parts, or is not in the log.
    """
    for reward in finished.rewards:
        if not reward.components:
            raise ValueError(
                f"reward {reward.reward_id!r} came as one number, to which no weights can be applied; evaluate"
                " without weights, and send `components` in place of `reward` from now on"
            )
    if finished.is_torn or (finished.joined.outcome == "rewarded" and not finished.rewards):
        raise ValueError(
            "rewards of it are missing in the log, so it cannot be totalled under other weights; mend the"
            " damaged part, or evaluate without weights"
        )
    found = total(finished.rewards, rule)
    if found is not None and not math.isfinite(found):
        raise ValueError("its total under these weights is not finite; rescale the weights")
    return rule.default if found is None else found
