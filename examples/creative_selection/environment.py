"""Which creative to show with this content? A made-up market with a known best answer.

A piece of content arrives; the formats in which it could be delivered are a handful of a catalog, another handful each
time. Somebody clicks or does not. The probability of a click depends on content and creative together, and not linearly:
no creative is best for all content.
"""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Floats = npt.NDArray[np.float32]

CONTENT_DIM: Final = 6
CREATIVE_DIM: Final = 5
_CATALOG: Final = 60
_FEWEST, _MOST = 4, 12
_MARKET_SEED: Final = 7
"""The market itself never changes; the seed of `reset` is that of the visitors."""
_HIDDEN: Final = 8
_SHARPNESS: Final = 3.0
_BASE: Final = -2.5


class CreativeSelection(gymnasium.Env[Floats, int]):
    """Observes content, `[6]`. An action is a creative of the catalog; `info["available_actions"]` names those that
    exist for this content. Every decision ends its episode, with a reward of 1 for a click and 0 for none.

    `creatives`: `[60, 5]`, the features of the catalog.
    """

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (CONTENT_DIM,), np.float32)
        self.action_space: spaces.Discrete[Any] = spaces.Discrete(_CATALOG)
        market = np.random.default_rng(_MARKET_SEED)
        self.creatives = market.uniform(-1, 1, (_CATALOG, CREATIVE_DIM)).astype(np.float32)
        self._wanted = market.normal(size=(_HIDDEN, CONTENT_DIM))
        self._offered = market.normal(size=(_HIDDEN, CREATIVE_DIM))
        self._content = np.zeros(CONTENT_DIM, np.float32)
        self._available = np.arange(_CATALOG)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._content = self.np_random.uniform(-1, 1, CONTENT_DIM).astype(np.float32)
        count = int(self.np_random.integers(_FEWEST, _MOST + 1))
        self._available = self.np_random.choice(_CATALOG, count, replace=False)
        return self._content.copy(), {"available_actions": self._available.tolist()}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        if action not in self._available:
            raise ValueError(f"creative {action} does not exist for this content")
        chance = self.click_probabilities()[self._available.tolist().index(action)]
        clicked = float(self.np_random.random() < chance)
        return self._content.copy(), clicked, True, False, {}

    def click_probabilities(self) -> npt.NDArray[np.float64]:
        """Of each available creative, in order: what nobody knows in reality."""
        match = np.tanh(self._wanted @ self._content)
        style = np.tanh(self.creatives[self._available] @ self._offered.T)
        score = _BASE + _SHARPNESS * (style @ match) / np.sqrt(_HIDDEN)
        chances: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-score))
        return chances
