"""When to try again, how long to pause first, and how much time is left."""

from __future__ import annotations

import random
import time
from typing import Any

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
# Below a millisecond a socket timeout means "do not wait at all", which is another error.
SHORTEST_WAIT_S = 0.001


def longest_pause_s(retries: int) -> float:
    """The ceiling of the pause before the next attempt: 0.1 s, doubled for every retry made, at most 2 s."""
    return min(FIRST_PAUSE_S * 2.0 ** min(retries, 10), LONGEST_PAUSE_S)


class Tries:
    """The attempts of one logical call: counts them and hands out the time that they share.

    tries = Tries(max_retries=2, timeout_s=5.0)
    while failed(send(time_allowed=tries.left_s())):
        pause_s = tries.pause_s(retry_after_s=None)
        if pause_s is None: give up
        sleep(pause_s)
    """

    __slots__ = ("_deadline_s", "_max_retries", "retries", "timeout_s")

    def __init__(self, max_retries: float, timeout_s: float) -> None:
        self._max_retries = max_retries
        self._deadline_s = time.monotonic() + timeout_s
        self.timeout_s = timeout_s
        self.retries = 0

    def left_s(self) -> float:
        """Seconds left for the whole call; never below one millisecond, so that it can be a timeout."""
        return max(self._deadline_s - time.monotonic(), SHORTEST_WAIT_S)

    def pause_s(self, retry_after_s: float | None) -> float | None:
        """Seconds to wait before one more attempt, which is counted; None to give up.

        The pause is what the service asked for plus full jitter, because clients that were sent away
        together must not come back together. A pause that does not fit into the time left is not begun,
        nor an attempt without any time to be answered in.
        """
        jitter_s = random.uniform(0.0, longest_pause_s(self.retries))  # noqa: S311 - no secret
        pause_s = (retry_after_s or 0.0) + jitter_s
        ends_s = time.monotonic() + pause_s + SHORTEST_WAIT_S
        if self.retries >= self._max_retries or ends_s >= self._deadline_s:
            return None
        self.retries += 1
        return pause_s


class TimeLeft(dict[str, float]):
    """Timeouts for httpx that shrink as the call goes on.

    The transport asks for one before each stage (pool, connect, write, read); a fixed number would let
    every stage spend the whole deadline again.
    """

    def __init__(self, tries: Tries) -> None:
        super().__init__()
        self._tries = tries

    def get(self, _key: str, _default: Any = None) -> float:
        return self._tries.left_s()
