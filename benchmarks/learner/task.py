"""What there is to learn: sizes, and experience that is made up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from agent_core.types import Box, Doubles, Floats, Integers, Mask, ProblemSpec

_TERMINATED: Final = 0.02


class Task(NamedTuple):
    """What all contestants of a case learn.

    `kind`: of the learner, as in a policy file. `action_dim`: D, how many actions there are to choose from,
    or, with `is_box`, the length of an action in [-1, 1]^D. `size`: T, transitions that are remembered.
    """

    kind: str
    hidden: tuple[int, ...]
    batch_size: int
    state_dim: int
    action_dim: int
    is_box: bool = False
    size: int = 10_000

    @property
    def spec(self) -> ProblemSpec:
        """Actions to choose from are told apart by one number each, which is 1."""
        ones = (1.0,) * self.action_dim
        box = Box(tuple(-one for one in ones), ones) if self.is_box else None
        return ProblemSpec(self.state_dim, self.action_dim, self.action_dim, box=box)


@dataclass(frozen=True, slots=True, eq=False)
class Experience:
    """T transitions. `state`, `next_state`: `[T, S]`. `action`: `[T]` positions, or `[T, D]` float32 in a box.
    `reward`: `[T]`, standard normal. `terminated`: `[T]`."""

    state: Floats
    action: Integers | Floats
    reward: Doubles
    next_state: Floats
    terminated: Mask


def made_up(task: Task, seed: int = 0) -> Experience:
    """Independent normal states, uniform actions."""
    generator = np.random.default_rng(seed)
    shape = (task.size, task.state_dim)
    return Experience(
        state=generator.standard_normal(shape, np.float32),
        action=_actions(task, generator),
        reward=generator.standard_normal(task.size),
        next_state=generator.standard_normal(shape, np.float32),
        terminated=generator.random(task.size) < _TERMINATED,
    )


def _actions(task: Task, generator: np.random.Generator) -> Integers | Floats:
    if task.is_box:
        return generator.uniform(-1, 1, (task.size, task.action_dim)).astype(np.float32)
    return generator.integers(task.action_dim, size=task.size)
