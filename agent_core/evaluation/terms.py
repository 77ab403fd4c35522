"""What every decision adds to an estimate. One formula makes the whole family:

    model + weight (reward - taken)

Without a model this is importance sampling, with weights of 0 the direct method, with both doubly robust
(Dudik et al. 2014). The weights make the rest: `weights` has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent_core.types import Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """`[T]` each. `model`: the reward model's value of the target policy. `correction`: weight times what
    the model missed. `weight`: what self-normalized estimates divide the corrections by."""

    model: Doubles
    correction: Doubles
    weight: Doubles


def importance(reward: Doubles, weight: Doubles) -> Terms:
    """Inverse propensity scores (Horvitz & Thompson 1952) where `weight` is the ratio. All `[T]`."""
    return Terms(np.zeros_like(reward), weight * reward, weight)


def doubly_robust(reward: Doubles, weight: Doubles, taken: Doubles, expected: Doubles) -> Terms:
    """`taken`: the model's value of the action that was taken. `expected`: the mean of its values under
    the target policy. All `[T]`. A model must not have seen the row that it speaks of: `reward_model`."""
    return Terms(expected, weight * (reward - taken), weight)
