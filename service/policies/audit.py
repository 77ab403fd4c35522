"""Do the logged probabilities tell the truth? Checked on decisions that were really made.

For every decision with probabilities p over A allowed actions and chosen action a, the weight of the
uniform policy is w = (1 / A) / p(a). Its expectation under p is 1 if every p > 0, whatever p is, so a
mean weight whose interval does not contain 1 says that the log lies.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import msgspec
import torch

from service.decisions.schemas import ActResponse

_Z95 = 1.959963984540054


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """`low`, `high`: 95 % interval of the mean weight (Student's t is not needed at these sizes).

    `chi_squared`: of how often each action was taken against the sum of its logged probabilities;
    conservative when probabilities differ between decisions. `overlap`: share of logged action
    probabilities that are above 0; weights are comparable with 1 only where it is 1.
    """

    decisions: int
    mean_importance_weight: float | None
    low: float | None
    high: float | None
    max_weight: float | None
    effective_sample_size: float | None
    chi_squared: float | None
    degrees_of_freedom: int
    p_value: float | None
    overlap: float | None
    smallest_propensity: float | None


def importance_weight(response: ActResponse) -> float:
    """The weight of the uniform policy over the actions that could be chosen."""
    possible = sum(1 for ranked in response.ranking if ranked.probability > 0)
    return 1.0 / (possible * response.propensity)


def audit(responses: Sequence[ActResponse]) -> Audit:
    """The audit of decisions that an agent or a randomised fallback made."""
    drawn = [
        response for response in responses if response.reason in ("policy", "explore", "fallback")
    ]
    weights = [importance_weight(response) for response in drawn]
    mean, low, high = mean_interval(weights)
    chi_squared, freedom, p_value = _chi_squared(drawn)
    squares = sum(w * w for w in weights)
    cells = [ranked.probability > 0 for response in drawn for ranked in response.ranking]
    return Audit(
        decisions=len(drawn),
        mean_importance_weight=mean,
        low=low,
        high=high,
        max_weight=max(weights, default=None),
        effective_sample_size=sum(weights) ** 2 / squares if squares else None,
        chi_squared=chi_squared,
        degrees_of_freedom=freedom,
        p_value=p_value,
        overlap=sum(cells) / len(cells) if cells else None,
        smallest_propensity=min((response.propensity for response in drawn), default=None),
    )


def mean_interval(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """The mean with its 95 % normal interval; None where there are too few values."""
    if not values:
        return None, None, None
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = _Z95 * math.sqrt(variance / len(values))
    return mean, mean - half, mean + half


def _chi_squared(responses: Sequence[ActResponse]) -> tuple[float | None, int, float | None]:
    """Pearson's statistic over action ids with at least 5 expected choices."""
    expected: dict[str, float] = defaultdict(float)
    observed: dict[str, int] = defaultdict(int)
    for response in responses:
        observed[response.action.id] += 1
        for ranked in response.ranking:
            expected[ranked.id] += ranked.probability
    frequent = [action_id for action_id, count in expected.items() if count >= 5]
    freedom = len(frequent) - 1
    if freedom < 1:
        return None, 0, None
    statistic = sum((observed[a] - expected[a]) ** 2 / expected[a] for a in frequent)
    p_value = torch.special.gammaincc(torch.tensor(freedom / 2), torch.tensor(statistic / 2))
    return statistic, freedom, float(p_value)
