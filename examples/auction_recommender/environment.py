"""What to recommend next, when some of what is clicked makes people leave? A made-up feed.

At every step an auction leaves other candidates, a hundred or more, none of which was seen before. A candidate is
clicked if it is about what the visitor likes, or if it is bait. Bait costs satisfaction, and who is not satisfied leaves. Whoever
maximizes the next click loses the visitor.

What the visitor likes is never seen at once: every step shows how much they like one topic, each in turn. Only who
remembers the last four steps knows all of it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Floats = npt.NDArray[np.float32]

TOPICS: Final = 4
OBSERVATION_DIM: Final = TOPICS + 1
CANDIDATE_DIM: Final = TOPICS + 1
_FEWEST, _MOST = 100, 200
_LONGEST: Final = 20


class Candidates(NamedTuple):
    """`ids`: new in every step. `features`: `[A, 5]`, how much of each topic, and how much bait, 0 to 1."""

    ids: list[str]
    features: Floats


class Feed(gymnasium.Env[Floats, int]):
    """Observes how much the visitor likes one topic, `[4]` with zeros for the three whose turn it is not, and how
    satisfied they are, 0 to 1. An action is the position of a candidate in `info["candidates"]`. Rewards are
    clicks. Terminates when the visitor leaves, and is cut after 20 steps.
    """

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (OBSERVATION_DIM,), np.float32)
        self.action_space: spaces.Discrete[Any] = spaces.Discrete(_MOST)
        self._liked = np.zeros(TOPICS, np.float32)
        self._satisfied = 1.0
        self._steps = 0
        self._served = 0
        self.candidates = Candidates([], np.zeros((0, CANDIDATE_DIM), np.float32))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        liked = self.np_random.normal(size=TOPICS)
        self._liked = (liked / np.linalg.norm(liked)).astype(np.float32)
        self._satisfied, self._steps = 0.7, 0
        return self._observation(), self._auction()

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        clicked = float(self.np_random.random() < self.click_probabilities()[action])
        shown = self.candidates.features[action]
        change = 0.15 * float(self._liked @ shown[:TOPICS]) - 0.3 * float(shown[-1]) + 0.02
        self._satisfied = float(np.clip(self._satisfied + change, 0.0, 1.0))
        self._steps += 1
        leaves = bool(self.np_random.random() < 0.5 * (1.0 - self._satisfied) ** 2)
        is_cut = not leaves and self._steps == _LONGEST
        return self._observation(), clicked, leaves, is_cut, self._auction()

    def click_probabilities(self) -> npt.NDArray[np.float64]:
        """`[A]`: of each candidate, now. What the best policy of a single step would know."""
        features = self.candidates.features
        score = 2.0 * features[:, :TOPICS] @ self._liked + 2.5 * features[:, -1] - 2.5
        chances: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-score.astype(np.float64)))
        return chances

    def _auction(self) -> dict[str, Any]:
        count = int(self.np_random.integers(_FEWEST, _MOST + 1))
        topics = self.np_random.uniform(-1, 1, (count, TOPICS)) / np.sqrt(TOPICS)
        bait = self.np_random.beta(0.6, 1.2, (count, 1))
        ids = [f"item-{self._served + number}" for number in range(count)]
        self._served += count
        self.candidates = Candidates(ids, np.hstack((topics, bait)).astype(np.float32))
        return {"candidates": self.candidates, "available_actions": range(count)}

    def _observation(self) -> Floats:
        observed = np.zeros(OBSERVATION_DIM, np.float32)
        topic = self._steps % TOPICS
        observed[topic] = self._liked[topic]
        observed[-1] = self._satisfied
        return observed
