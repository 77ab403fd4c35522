"""Reads each policy's log once, for all who follow it.

    events after the position -> every observer takes them -> each may act
    every second, or page: the position and the states are stored

Stored together, so a worker that is killed anywhere goes on as if nothing had happened. An observer with a defect is
left out until the policy is declared anew, Redis comes back, or another worker takes over: joining and archiving must
go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from redis.exceptions import RedisError

from service import metrics
from service.archive.logic import StreamId
from service.following.observer import LogEvent, Observer, Opener
from service.following.repository import FollowingRepository
from service.joining.joiner import Watched

log = structlog.get_logger(__name__)

_PAGE: Final = 500
"""Events a turn: a few milliseconds, so that joining does not wait long."""
_SAVE_MS: Final = 1_000
"""States are tens of kilobytes; a policy with a few decisions a second would write more of them than log."""


@dataclass(slots=True)
class _Followed:
    """One policy. `declared`: the fingerprint of the configuration that the observers were opened for. `unsaved`: events
    that were taken since `saved_ms`, when states were stored."""

    declared: str
    position: StreamId
    observers: dict[str, Observer]
    unsaved: int = 0
    saved_ms: int = 0

    def is_due(self, now_ms: int) -> bool:
        # Either way: a clock that was set back must not hold it up.
        is_time = abs(now_ms - self.saved_ms) >= _SAVE_MS
        return self.unsaved >= _PAGE or (self.unsaved > 0 and is_time)


class Follower:
    """Follows all policies. Make a new one whenever the worker's lease is taken."""

    def __init__(self, repository: FollowingRepository, openers: Mapping[str, Opener]) -> None:
        self._repository = repository
        self._openers = openers
        self._followed: dict[str, _Followed] = {}

    async def follow(self, policy: Watched, now_ms: int) -> bool:
        """One turn for one policy; whether there is more to read.

        Raises:
            RedisError: nothing is half done; ask again.
        """
        one = await self._of(policy, now_ms)
        if not one.observers:
            return False
        events, is_gap = await self._repository.events(policy.keys, one.position, _PAGE)
        if is_gap:
            metrics.FOLLOWER_MISSED.labels(policy.keys.policy).inc()
            log.warning("log_followed_too_late", policy=policy.keys.policy, action="going on")
        try:
            if events:
                _take(policy, one, events)
            if one.is_due(now_ms):
                await self._save(policy, one, now_ms)
            await self._act(policy, one, now_ms)
        except BaseException:
            # Whatever is half done is done again from what is stored, as after a crash.
            del self._followed[policy.keys.policy]
            raise
        is_more = len(events) == _PAGE
        lag_ms = now_ms - one.position.ms if is_more else 0
        metrics.FOLLOWER_LAG.labels(policy.keys.policy).set(max(0, lag_ms) / 1000)
        return is_more

    async def _save(self, policy: Watched, one: _Followed, now_ms: int) -> None:
        states = {}
        for name, observer in list(one.observers.items()):
            try:
                states[name] = observer.state()
            except Exception as defect:  # noqa: BLE001  # whatever it is, it must not stop the others
                _leave_out(policy, one, name, defect)
        await self._repository.save(policy.keys, one.position, states)
        one.unsaved, one.saved_ms = 0, now_ms

    async def _act(self, policy: Watched, one: _Followed, now_ms: int) -> None:
        for name, observer in list(one.observers.items()):
            try:
                await observer.act(policy, now_ms)
            except (RedisError, OSError):
                raise
            except Exception as defect:  # noqa: BLE001  # as above
                _leave_out(policy, one, name, defect)

    async def _of(self, policy: Watched, now_ms: int) -> _Followed:
        known = self._followed.get(policy.keys.policy)
        declared = policy.config.fingerprint
        if known is None or known.declared != declared:
            if known is not None:
                await self._save(policy, known, now_ms)  # what acting changed since counts too
            position, states = await self._repository.load(policy.keys)
            known = _Followed(declared, position, self._opened(policy, states))
            self._followed[policy.keys.policy] = known
        return known

    def _opened(self, policy: Watched, states: Mapping[str, bytes]) -> dict[str, Observer]:
        found = {}
        for name, opener in self._openers.items():
            try:
                observer = opener(policy, states.get(name, b""))
            except Exception as defect:  # noqa: BLE001  # as above
                _tell(policy, name, defect)
            else:
                if observer is not None:
                    found[name] = observer
        return found


def _take(policy: Watched, one: _Followed, events: Sequence[LogEvent]) -> None:
    for name, observer in list(one.observers.items()):
        try:
            observer.take(events)
        except Exception as defect:  # noqa: BLE001  # as above
            _leave_out(policy, one, name, defect)
    one.position = events[-1].stream_id
    one.unsaved += len(events)


def _leave_out(policy: Watched, one: _Followed, name: str, defect: Exception) -> None:
    del one.observers[name]
    _tell(policy, name, defect)


def _tell(policy: Watched, name: str, defect: Exception) -> None:
    metrics.OBSERVER_FAILED.labels(policy.keys.policy, name).inc()
    log.error("observer_left_out", policy=policy.keys.policy, observer=name, exc_info=defect)
