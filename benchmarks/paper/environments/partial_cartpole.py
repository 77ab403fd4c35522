"""CartPole that hides its velocities, and everything at every second step (Zhu et al. 2023, appendix B.4)."""

from __future__ import annotations

import math
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces

from agent_core.types import Floats

_SEEN: Final = [0, 2]
"""Position of the cart and angle of the pole, of CartPole's four numbers."""
_LIMITS: Final = np.array([2.4, math.radians(12)], np.float32)
"""Where an episode ends, on both sides: in metres and radians."""


class PartialCartPole(gymnasium.Wrapper[Floats, int, Floats, int]):
    """Observes `[position, angle]` at even steps of an episode and zeros at odd ones.

    Both are shares of the limits at which an episode ends, where the paper has metres and radians: in those a
    velocity is the difference of two small numbers, which a network takes long to see. In a policy file the `scale`
    of a feature does the same.
    """

    def __init__(self) -> None:
        environment: gymnasium.Env[Floats, int] = gymnasium.make("CartPole-v1")
        super().__init__(environment)
        limits = environment.observation_space
        assert isinstance(limits, spaces.Box)
        low, high = self._seen(limits.low), self._seen(limits.high)
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        observed, info = self.env.reset(seed=seed, options=options)
        self._step = 0
        return self._seen(observed), info

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        observed, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        shown = np.zeros(2, np.float32) if self._step % 2 else self._seen(observed)
        return shown, float(reward), terminated, truncated, info

    @staticmethod
    def _seen(observed: Floats) -> Floats:
        shares: Floats = observed[_SEEN] / _LIMITS
        return shares
