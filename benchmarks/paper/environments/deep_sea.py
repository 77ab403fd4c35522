"""Deep Sea: a reward that random play finds once in 2^n episodes.

Osband et al. 2019 (Behaviour Suite, "deep sea"; Zhu et al. 2023, appendix B.4). The diver begins at the top
left of an n x n grid and sinks one row a step, to the left or to the right. Each step to the right costs
0.01 / n; the last step to the right in the last column finds the treasure, worth 1. Which of the two actions means "right"
is drawn for each cell, so that an agent cannot learn it once for all. Optimal return: 0.99.
"""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces

from agent_core.types import Floats

OPTIMAL_RETURN: Final = 0.99
_COST: Final = 0.01
_TREASURE: Final = 1.0


class DeepSea(gymnasium.Env[Floats, int]):
    """Observes the cell, one-hot: `[size * size]`. Terminates after `size` steps. `mapping_seed`: draws what
    the actions mean; the same in every episode."""

    def __init__(self, size: int, mapping_seed: int = 0) -> None:
        self.size = size
        self.observation_space = spaces.Box(0.0, 1.0, (size * size,), np.float32)
        self.action_space: spaces.Discrete[Any] = spaces.Discrete(2)
        self._right = np.random.default_rng(mapping_seed).integers(0, 2, (size, size))
        self._row = self._column = 0

    @property
    def rightward(self) -> int:
        """The action that means "right" where the diver is now."""
        return int(self._right[self._row, self._column])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._row = self._column = 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        reward = 0.0
        if action == self.rightward:
            reward -= _COST / self.size
            if self._row == self._column == self.size - 1:
                reward += _TREASURE
            self._column = min(self._column + 1, self.size - 1)
        else:
            self._column = max(self._column - 1, 0)
        self._row += 1
        return self._observation(), reward, self._row == self.size, False, {}

    def _observation(self) -> Floats:
        """All zeros below the last row: nothing is decided there."""
        observed = np.zeros(self.size * self.size, np.float32)
        if self._row < self.size:
            observed[self._row * self.size + self._column] = 1.0
        return observed
