"""Changes to any environment: fewer actions at times, and what an action costs."""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces

_PERIOD: Final = 4


class DeletesAction(gymnasium.Wrapper[Any, int, Any, int]):
    """Takes the action `deleted` away at every fourth step of an episode (Zhu et al. 2023, appendix B.4).

    `info["available_actions"]` says which may be taken next. Taking another raises ValueError.
    """

    def __init__(self, environment: gymnasium.Env[Any, int], deleted: int) -> None:
        super().__init__(environment)
        assert isinstance(environment.action_space, spaces.Discrete)
        self._all = tuple(range(int(environment.action_space.n)))
        self._rest = tuple(action for action in self._all if action != deleted)
        self._step = 0

    @property
    def available(self) -> tuple[int, ...]:
        """The actions that may be taken now."""
        return self._rest if self._step % _PERIOD == _PERIOD - 1 else self._all

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observed, info = self.env.reset(seed=seed, options=options)
        self._step = 0
        return observed, info | {"available_actions": self.available}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action not in self.available:
            raise ValueError(f"action {action} is not available; take one of {self.available}")
        observed, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        info = info | {"available_actions": self.available}
        return observed, float(reward), terminated, truncated, info


class ChargesEnergy(gymnasium.Wrapper[Any, Any, Any, Any]):
    """`info["cost"]` is the squared Euclidean norm of the action (Zhu et al. 2023, appendix B.4)."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observed, reward, terminated, truncated, info = self.env.step(action)
        cost = float(np.square(action).sum())
        return observed, float(reward), terminated, truncated, info | {"cost": cost}
