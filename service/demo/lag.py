"""How long until a reward is in the model that decides: measured, decision by decision.

From the moment the client sends a reward until the first answer of a version whose data holds it. Which
version that is, the service says itself (`learned_by`); when it first answered, the client saw.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from typing import Final

from nacre_client import AsyncClient

_ASK_EVERY_S: Final = 0.5
_ASKS: Final = 40


class Sightings:
    """When each model version was first seen to answer; times are `time.perf_counter`."""

    def __init__(self) -> None:
        self._first_s: dict[int, float] = {}
        self.newest = ""

    def saw(self, model_version: str, at_s: float) -> None:
        """Notes who answered."""
        number = _number(model_version)
        if number not in self._first_s:
            self._first_s[number] = at_s
            self.newest = model_version

    @property
    def swaps(self) -> int:
        """How many times another version took over."""
        return max(0, len(self._first_s) - 1)

    def served_s(self, version: int) -> float | None:
        """When `version`, or one after it, was first seen; None if never."""
        return min(
            (at_s for number, at_s in self._first_s.items() if number >= version), default=None
        )


class LagProbe:
    """Follows a sample of rewards until they are learned from."""

    def __init__(
        self, client: AsyncClient, sightings: Sightings, ask_every_s: float = _ASK_EVERY_S
    ) -> None:
        self._client = client
        self._sightings = sightings
        self._ask_every_s = ask_every_s
        self._followed: list[tuple[float, int | None]] = []

    async def follow(self, decision_id: str, posted_s: float) -> None:
        """Asks which version was the first to learn from a decision that was rewarded at `posted_s`.

        Asked soon, because the service forgets old versions.
        """
        version = None
        for _ in range(_ASKS):
            await asyncio.sleep(self._ask_every_s)
            life = await self._client.decision(decision_id)
            version = min(map(_number, life.learned_by), default=None)
            if version is not None:
                break
        self._followed.append((posted_s, version))

    def lags_s(self) -> list[float]:
        """Seconds for every followed reward; infinite for one that never came to be served."""
        return [self._lag_s(posted_s, version) for posted_s, version in self._followed]

    def median_s(self) -> float | None:
        """None when there is nothing to measure, or when half of it was never served."""
        lags = self.lags_s()
        median = statistics.median(lags) if lags else math.inf
        return median if math.isfinite(median) else None

    def _lag_s(self, posted_s: float, version: int | None) -> float:
        served_s = None if version is None else self._sightings.served_s(version)
        return math.inf if served_s is None else served_s - posted_s


def _number(model_version: str) -> int:
    """42 of `digits@42`."""
    return int(model_version.rpartition("@")[2])
