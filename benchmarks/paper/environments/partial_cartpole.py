"""CartPole that hides its velocities, and everything at every second step (Zhu et al. 2023, appendix B.4)."""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces

from agent_core.types import Floats

_SEEN: Final = [0, 2]
"""Position of the cart and angle of the pole, of CartPole's four numbers."""


class PartialCartPole(gymnasium.Wrapper[Floats, int, Floats, int]):
    """Observes `[position, angle]` at even steps of an episode and zeros at odd ones."""

    def __init__(self) -> None:
        environment: gymnasium.Env[Floats, int] = gymnasium.make("CartPole-v1")
        super().__init__(environment)
        limits = environment.observation_space
        assert isinstance(limits, spaces.Box)
        self.observation_space = spaces.Box(limits.low[_SEEN], limits.high[_SEEN], dtype=np.float32)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        observed, info = self.env.reset(seed=seed, options=options)
        self._step = 0
        return observed[_SEEN], info

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        observed, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        shown = np.zeros(2, np.float32) if self._step % 2 else observed[_SEEN]
        return shown, float(reward), terminated, truncated, info
