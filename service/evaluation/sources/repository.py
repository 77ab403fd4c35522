"""What the log of one policy refers to, read from Redis by code that is not asynchronous.

    with reading(redis_url, "home") as reader:
        frame = reader.frame_of(taken)

Sources are plain iterators, so that one can be read in any thread or process; a loop of its own carries the
same repositories that the service uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis.asyncio import Redis

from service.archive.logic import Event, StreamId
from service.archive.repository import ArchiveRepository
from service.evaluation.errors import EvaluationError
from service.joining.frames import Frames
from service.joining.logic import Frame, Taken
from service.policies.config import PolicyConfig
from service.policies.repository import PolicyRepository
from service.policies.store import read_config
from service.repository import PolicyKeys

_TIMEOUT_S: Final = 10.0


class PolicyReader:
    """`config`: what the policy is configured to now."""

    def __init__(
        self, runner: asyncio.Runner, client: Redis, keys: PolicyKeys, config: PolicyConfig
    ) -> None:
        self.config = config
        self._runner = runner
        self._keys = keys
        self._frames = Frames(PolicyRepository(client))
        self._log = ArchiveRepository(client)
        self._last: tuple[tuple[str, int], Frame | None] = (("", -1), None)

    def frame_of(self, taken: Taken) -> Frame | None:
        """How a decision was encoded, or None when that cannot be known any more.

        Raises:
            RedisError: Redis does not answer.
        """
        # Decisions of one kind follow each other by the thousand, and the loop costs more than the look-up.
        name = (taken.config_hash, taken.catalog)
        if self._last[0] != name:
            self._last = name, self._runner.run(self._frames.of(self._keys, taken))
        return self._last[1]

    def events(self, after: StreamId, count: int) -> list[Event]:
        """Up to `count` events that Redis keeps and that follow `after`, oldest first.

        Raises:
            RedisError: Redis does not answer.
        """
        return self._runner.run(self._log.events(self._keys, after, count))


@contextmanager
def reading(redis_url: str, policy: str) -> Iterator[PolicyReader]:
    """A reader, while the context lasts. Not from code that runs in an event loop: use a thread there.

    Raises:
        EvaluationError: there is no such policy.
        ConfigError: what Redis holds of it is not a policy of this release.
        RedisError: Redis does not answer.
    """
    keys = PolicyKeys(policy)
    with asyncio.Runner() as runner:
        client = Redis.from_url(redis_url, socket_timeout=_TIMEOUT_S)
        try:
            meta = runner.run(PolicyRepository(client).meta(keys))
            if meta is None:
                raise EvaluationError(f"policy {policy!r} is not registered; check its name")
            yield PolicyReader(runner, client, keys, read_config(meta.config))
        finally:
            runner.run(client.aclose())
