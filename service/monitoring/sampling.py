"""Which decisions are read whole: as many a second as the policy allows."""

from __future__ import annotations

from msgspec import Struct


class Budget(Struct):
    """Tokens that come at `per_s`, of which at most a second's worth is kept. Time is that of the log, so that the
    same decisions are chosen whenever it is read."""

    per_s: float
    tokens: float = 1.0
    at_ms: int = 0

    def allows(self, at_ms: int) -> bool:
        """Whether the decision that the log took in at `at_ms` is one of them; each answer counts."""
        fresh = max(0, at_ms - self.at_ms) / 1000 * self.per_s
        self.tokens = min(max(1.0, self.per_s), self.tokens + fresh)
        self.at_ms = max(self.at_ms, at_ms)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
