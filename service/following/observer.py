"""Who follows the log of a policy while it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from service.archive.logic import StreamId
from service.joining.joiner import Watched


class LogEvent(Struct, frozen=True, gc=False):
    """One event as it stands in the log. What `body` is, `type` says: a `decision` or `shadow` is a
    `DecisionRecord`, `joined` a `JoinedEvent`, `reward` and `late_reward` a `RewardEvent`, all others the JSON of
    a `PolicyEvent`. Observers decode what they need, and no more."""

    stream_id: StreamId
    type: str
    decision_id: str
    body: bytes


class Observer(Protocol):
    """Takes in every event once, in order, and acts on what it makes of them.

        observer.take(events)          sums only: no input, no output, no clock
        await observer.act(policy, now_ms)
        (now and then its state is stored together with the position in the log)

    A worker that dies takes the same events again, from the stored state: sums are exact. What `act` does may be
    done twice.
    """

    def take(self, events: Sequence[LogEvent]) -> None: ...

    def state(self) -> bytes:
        """All that another worker needs to go on; what `Opener` gets back."""
        ...

    async def act(self, policy: Watched, now_ms: int) -> None:
        """Judges, tells, and moves the policy's head where that is called for.

        Raises:
            RedisError: the observer is opened anew from its stored state, and what was not done is done then.
        """
        ...


Opener = Callable[[Watched, bytes], Observer | None]
"""An observer of a policy as it is declared now, with the state that the last one left, b"" at first; one that
was kept under another declaration may have to be let go. None if the policy declares no need of it."""
