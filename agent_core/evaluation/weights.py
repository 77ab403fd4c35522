"""What a decision counts: the ratio of two policies, and ways to keep a large one from ruling the mean.

All take and give `[T]`. A ratio is 1 on average, and every form below it trades that for less variance, by
its own `limit` or `rate`; with a reward model (see `terms`) the model pays for what was taken away.
"""

from __future__ import annotations

import numpy as np

from agent_core.evaluation.logged import segment_sum
from agent_core.types import Doubles, Integers


def clipped(ratio: Doubles, limit: float) -> Doubles:
    """min(ratio, `limit`) (Ionides 2008)."""
    return np.minimum(ratio, limit)


def switched(ratio: Doubles, limit: float) -> Doubles:
    """The ratio where it is at most `limit`, else 0: there the model decides alone (Wang et al. 2017:
    SWITCH)."""
    return np.where(ratio <= limit, ratio, 0.0)


def optimistic(ratio: Doubles, limit: float) -> Doubles:
    """`limit` ratio / (ratio^2 + `limit`), which minimizes a bound on the squared error (Su et al. 2020a:
    DRos).

    `limit`: above 0. It becomes the ratio as the limit grows, and 0 as it shrinks.
    """
    return limit * ratio / (ratio**2 + limit)


def sub_gaussian(ratio: Doubles, rate: float) -> Doubles:
    """ratio / (1 - `rate` + `rate` ratio), never above 1 / `rate` (Metelli et al. 2021, at s = -1).

    `rate`: in [0, 1], the share of 1 in its harmonic mean with the ratio; 0 is the ratio itself.
    """
    return ratio / (1 - rate + rate * ratio)


def marginalized(
    target: Doubles, behaviour: Doubles, given_action: Doubles, offsets: Integers
) -> Doubles:
    """`[T]`: how much likelier what was seen of the action, its embedding e, is under the target policy.

    sum_a target(a) p(e | a) / sum_a behaviour(a) p(e | a) (Saito & Joachims 2022, MIPS). Unbiased where e
    is all of the action that rewards depend on; finite where an action was never tried, if its like was.

    `target`, `behaviour`: `[N]` probabilities of all available actions. `given_action`: `[N]`, the
    probability that each has of the embedding that was logged.
    """
    above = segment_sum(target * given_action, offsets)
    return above / segment_sum(behaviour * given_action, offsets)


def most_robust(ratio: Doubles, propensity: Doubles) -> Doubles:
    """How much a decision counts in the fit of a reward model, so that the doubly robust estimate with that
    model varies least: target (1 - propensity) / propensity^2 (Farajtabar et al. 2018, MRDR).

    The paper derives this for a deterministic target; for any other it is weighted by its probability.
    """
    return ratio * (1 - propensity) / propensity
