"""How long to wait for a person who decides about a held decision, and what to make of the answer."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from ._errors import DeadlineExceededError, NacreError
from ._models import Approval, Decision, Held

LONGEST_POLL_S = 20.0
PAUSE_S = 0.5
# The service ends what nobody answered a little after the deadline, and its clock is another one.
GRACE_S = 30.0


class Patience:
    """Hands out the time of one wait; without `timeout_s`, until a while after the deadline."""

    def __init__(self, held: Held, timeout_s: float | None) -> None:
        if timeout_s is None:
            left = held.deadline - datetime.now(UTC)
            timeout_s = max(0.0, left.total_seconds()) + GRACE_S
        self._held = held
        self._until_s = time.monotonic() + timeout_s

    def poll_s(self) -> float:
        """Seconds that the next question may wait at the service; 0 when the time is over."""
        return min(max(self._until_s - time.monotonic(), 0.0), LONGEST_POLL_S)

    def decided(self, approval: Approval, asked_s: float) -> Decision | None:
        """The decision, or None to ask once more. `asked_s`: how long the question was allowed to wait.

        Raises:
            NacreError: there will be no decision.
            DeadlineExceededError: the time is over.
        """
        if approval.state != "pending":
            if approval.decision is None:
                raise NacreError(
                    f"approval {approval.approval_id} is {approval.state}; there is no decision: ask act for another"
                )
            return approval.decision
        if asked_s <= 0.0:
            raise DeadlineExceededError(
                f"approval {self._held.approval_id} waits still, until {self._held.deadline}; wait longer"
            )
        return None
