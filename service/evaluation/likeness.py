"""Actions that are like one another, for ratios that take them together (Saito & Joachims 2022: MIPS).

The embedding of an action is the side of each of some hyperplanes on which its features lie (Charikar 2002).
With many planes only equal features are alike, with few many are; how far that may go is for SLOPE to say,
as the bias grows with it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from agent_core.evaluation.weights import marginalized
from agent_core.types import Doubles, Floats, Mask
from service.evaluation.steps import LoggedStep

LEVELS: Final = (64, 8, 4, 2)
"""Numbers of planes. 64 tell apart what is further than a few degrees from each other."""


def marginal_ratios(step: LoggedStep, target: Doubles) -> Doubles:
    """`[L]`: how much likelier an action like the one that was taken is under the target, at each level.

    NaN where the log does not know the probabilities of all actions. `target`: `[A]`.
    """
    if step.behaviour is None:
        return np.full(len(LEVELS), np.nan)
    sides = _sides(step.actions.features)
    differs = np.cumsum(sides != sides[step.action], 1)
    offsets = np.array([0, len(target)])
    alike = [(differs[:, planes - 1] == 0).astype(np.float64) for planes in LEVELS]
    return np.concatenate([marginalized(target, step.behaviour, each, offsets) for each in alike])


def _sides(features: Floats) -> Mask:
    """`[A, 64]`: on which side of each plane the features `[A, D]` lie."""
    whole = np.concatenate([features, np.ones((len(features), 1), np.float32)], 1)
    sides: Mask = whole @ _planes(whole.shape[1]) > 0
    return sides


@lru_cache(maxsize=64)
def _planes(dim: int) -> Doubles:
    return np.random.default_rng(dim).standard_normal((dim, max(LEVELS)))
