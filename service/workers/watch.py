"""The policies as Redis has them now, for a process that works on all of them."""

from __future__ import annotations

import msgspec
import structlog

from agent_core.errors import AgentCoreError
from service.joining.joiner import Watched
from service.policies.config import PolicyConfig, parse_policy
from service.policies.repository import PolicyRepository
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)


class Watch:
    """Refreshed by polling; a configuration is parsed only when it changed."""

    def __init__(self, repository: PolicyRepository) -> None:
        self._repository = repository
        self._parsed: dict[str, tuple[bytes, PolicyConfig | None]] = {}
        self.policies: list[Watched] = []

    async def refresh(self) -> None:
        """Looks at every policy once.

        Raises:
            RedisError: Redis does not answer; what was seen before stays.
        """
        found = [await self._look(PolicyKeys(name)) for name in await self._repository.names()]
        self.policies = [policy for policy in found if policy is not None]

    async def _look(self, keys: PolicyKeys) -> Watched | None:
        meta = await self._repository.meta(keys)
        config = None if meta is None else self._config(keys.policy, meta.config)
        if meta is None or config is None:
            return None
        quarantined = await self._repository.quarantined(keys)
        return Watched(keys, config, meta, quarantined)

    def _config(self, policy: str, body: bytes) -> PolicyConfig | None:
        known = self._parsed.get(policy)
        if known is None or known[0] != body:
            known = self._parsed[policy] = (body, _parse(policy, body))
        return known[1]


def _parse(policy: str, body: bytes) -> PolicyConfig | None:
    """One that a newer Nacre wrote stops that policy here, not the others."""
    try:
        return parse_policy(msgspec.json.decode(body))
    except (AgentCoreError, msgspec.MsgspecError) as error:
        log.error(
            "policy_unusable", policy=policy, error=str(error), action="not joined, not archived"
        )
        return None
