"""Features of bounded size for reward models, whatever states and actions look like.

    x(s, a) = 1, s, a, and every product of a number of s with one of a

Few numbers are used as they are; many are folded into a few by hashing, each with a sign of its own, so that
products of sketches are near to products of the whole (Weinberger et al. 2009). An action's id is hashed too, so
that actions without features of their own are told apart. x is linear in a: its mean under a policy is x of the
mean of a, and nothing need be computed for actions that were not taken. Letters: P numbers of a state, Q of an
action, D = (1 + P) (1 + Q) of both.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from agent_core.functional.keys import key_of
from agent_core.types import ActionSet, Doubles

STATE_WIDTH: Final = 16
ACTION_WIDTH: Final = 32
"""Ids get what features leave over, of which there are at most half as many."""


def state_sketches(states: Doubles) -> Doubles:
    """`[T, P]` of states `[T, S]`: with the products of their own numbers if they are few enough for that."""
    rows, columns = np.triu_indices(states.shape[1])
    if states.shape[1] + len(rows) <= STATE_WIDTH:
        return np.concatenate([states, states[:, rows] * states[:, columns]], 1)
    return folded(states, STATE_WIDTH)


def action_sketch(actions: ActionSet) -> Doubles:
    """`[A, Q]`: the features and the ids of actions out of a set."""
    features = folded(actions.features.astype(np.float64), ACTION_WIDTH // 2)
    return np.concatenate([features, _ids(actions.ids, ACTION_WIDTH - features.shape[1])], 1)


def continuous_sketch(action: Doubles) -> Doubles:
    """`[Q]` of a continuous action `[D]`: with its squares, because what is best lies between the limits. It
    is not linear, and need not be: whoever plays one action has no mean to take."""
    few = folded(action, ACTION_WIDTH // 2)
    return np.concatenate([few, few**2])


def crossed(state: Doubles, action: Doubles) -> Doubles:
    """`[T, D]` of `state` `[T, P]` and `action` `[T, Q]`."""
    ones = np.ones((len(state), 1))
    left, right = np.concatenate([ones, state], 1), np.concatenate([ones, action], 1)
    products: Doubles = left[:, :, None] * right[:, None, :]
    return products.reshape(len(state), left.shape[1] * right.shape[1])


def folded(numbers: Doubles, width: int) -> Doubles:
    """`[..., min(N, width)]` of `[..., N]`: as they are if they are few, else sums of some with signs."""
    if numbers.shape[-1] <= width:
        return numbers
    sums: Doubles = numbers @ _folding(numbers.shape[-1], width)
    return sums


@lru_cache(maxsize=64)
def _folding(count: int, width: int) -> Doubles:
    """`[N, width]`: in each row a 1 or a -1 at one place, which both the number's position decides."""
    keys = np.array([key_of(f"{i}") for i in range(count)])
    matrix = np.zeros((count, width))
    matrix[np.arange(count), keys % width] = np.where(keys >> 32 & 1, 1.0, -1.0)
    return matrix


@lru_cache(maxsize=1024)
def _ids(ids: tuple[str, ...], width: int) -> Doubles:
    """`[A, width]`: a 1 in each row, where the hash of the id says."""
    rows = np.zeros((len(ids), width))
    rows[np.arange(len(ids)), [key_of(name) % width for name in ids]] = 1.0
    rows.flags.writeable = False
    return rows
