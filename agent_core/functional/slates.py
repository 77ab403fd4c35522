"""Several actions for several slots at once, none twice, with the exact probability of the whole.

The slots are filled one after the other: each by a rule of its own choice among what is left. So the
probability of a slate is the product of what every pick had given the picks before it (with the same
values and a softmax in all slots: Plackett 1975), and nothing of size A^K is ever made. Letters: K slots,
A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from agent_core.errors import EmptyActionSetError
from agent_core.functional.choice import sample
from agent_core.types import Doubles, Mask

Rule: TypeAlias = Callable[[int, Doubles], Doubles]
"""From a slot and the values of the actions that are left for it, to their probabilities."""


@dataclass(frozen=True, slots=True, eq=False)
class Slate:
    """What goes where. `indices`: K positions in the action set, no two alike. `propensities`: `[K]`,
    the probability of each pick given the ones before it."""

    indices: tuple[int, ...]
    propensities: Doubles

    @property
    def joint_propensity(self) -> float:
        """The probability of this slate in this order."""
        return float(self.propensities.prod())


def draw_slate(value: Doubles, allowed: Mask, rule: Rule, uniforms: Sequence[float]) -> Slate:
    """Fills the slots in order, each by its own number of `uniforms`, K in [0, 1).

    `value`: `[K, A]`, what each action is worth in each slot. `allowed`: `[K, A]` bool.

    Raises:
        EmptyActionSetError: no action that is allowed in a slot is left for it.
    """
    indices: list[int] = []
    propensities = np.empty(len(value))
    for slot, uniform in enumerate(uniforms):
        left = _left(allowed[slot], indices)
        if not len(left):
            raise EmptyActionSetError(
                f"no action is left for slot {slot}, counted from 0; allow more or ask for fewer slots"
            )
        probabilities = rule(slot, value[slot, left])
        at = sample(probabilities, uniform)
        propensities[slot] = probabilities[at]
        indices.append(int(left[at]))
    return Slate(tuple(indices), propensities)


def slate_propensities(
    value: Doubles, allowed: Mask, rule: Rule, indices: Sequence[int]
) -> Doubles:
    """`[K]`: the probability that `draw_slate` picks each of `indices` given the ones before it.

    0 where that action was not allowed or already taken. For evaluating a slate that someone else drew.
    """
    propensities = np.zeros(len(value))
    for slot, index in enumerate(indices):
        left = _left(allowed[slot], indices[:slot])
        if index in left:
            probabilities = rule(slot, value[slot, left])
            propensities[slot] = probabilities[np.searchsorted(left, index)]
    return propensities


def _left(allowed: Mask, taken: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The positions that are allowed and not taken, ascending."""
    free = allowed.copy()
    free[list(taken)] = False
    return np.flatnonzero(free)
