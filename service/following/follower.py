"""Reads each policy's log once, for all who follow it.

    events after the position -> every observer takes them -> position and states are stored -> each may act

Stored together, so a worker that is killed anywhere goes on as if nothing had happened. An observer with a defect is
left out until the policy is declared anew or another worker takes over: joining and archiving must go on.
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


@dataclass(slots=True)
class _Followed:
    """One policy. `declared`: the fingerprint of the configuration that the observers were opened for."""

    declared: str
    position: StreamId
    observers: dict[str, Observer]


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
        one = await self._of(policy)
        if not one.observers:
            return False
        events, is_gap = await self._repository.events(policy.keys, one.position, _PAGE)
        if is_gap:
            metrics.FOLLOWER_MISSED.labels(policy.keys.policy).inc()
            log.warning("log_followed_too_late", policy=policy.keys.policy, action="going on")
        if events:
            await self._take(policy, one, events)
        for name, observer in list(one.observers.items()):
            try:
                await observer.act(policy, now_ms)
            except (RedisError, OSError):
                raise
            except Exception as defect:  # noqa: BLE001  # whatever it is, it must not stop the others
                _leave_out(policy, one, name, defect)
        is_more = len(events) == _PAGE
        lag_ms = now_ms - one.position.ms if is_more else 0
        metrics.FOLLOWER_LAG.labels(policy.keys.policy).set(max(0, lag_ms) / 1000)
        return is_more

    async def _take(self, policy: Watched, one: _Followed, events: Sequence[LogEvent]) -> None:
        states = {}
        for name, observer in list(one.observers.items()):
            try:
                observer.take(events)
                states[name] = observer.state()
            except Exception as defect:  # noqa: BLE001  # as above
                _leave_out(policy, one, name, defect)
        try:
            await self._repository.save(policy.keys, events[-1].stream_id, states)
        except BaseException:
            del self._followed[policy.keys.policy]  # what was taken and not stored is forgotten
            raise
        one.position = events[-1].stream_id

    async def _of(self, policy: Watched) -> _Followed:
        known = self._followed.get(policy.keys.policy)
        declared = policy.config.fingerprint
        if known is None or known.declared != declared:
            position, states = await self._repository.load(policy.keys)
            opened = {
                name: opener(policy, states.get(name, b""))
                for name, opener in self._openers.items()
            }
            observers = {name: one for name, one in opened.items() if one is not None}
            known = _Followed(declared, position, observers)
            self._followed[policy.keys.policy] = known
        return known


def _leave_out(policy: Watched, one: _Followed, name: str, defect: Exception) -> None:
    del one.observers[name]
    metrics.OBSERVER_FAILED.labels(policy.keys.policy, name).inc()
    log.error("observer_left_out", policy=policy.keys.policy, observer=name, exc_info=defect)
