"""One state and two actions, of which the better one is the riskier one (Zhu et al. 2023, appendix B.4)."""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces

from agent_core.types import Floats

MEANS: Final = (6.0, 10.0)
VARIANCES: Final = (1.0, 9.0)
CAREFUL, BOLD = 0, 1
"""mean - b * variance is 6 - b and 10 - 9 b: the careful action is the better one for b above 1/2."""


class MeanVarianceBandit(gymnasium.Env[Floats, int]):
    """Observes a constant; every decision terminates. Normal rewards."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space: spaces.Discrete[Any] = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        deviation = float(np.sqrt(VARIANCES[action]))
        reward = float(self.np_random.normal(MEANS[action], deviation))
        return np.ones(1, np.float32), reward, True, False, {}
