"""The encodings of past decisions: every configuration and catalog revision that still has some open."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec
import structlog

from agent_core.errors import AgentCoreError
from service.joining.logic import Frame, Taken
from service.policies.catalog import CatalogDocument
from service.policies.config import parse_policy
from service.policies.encoding import Encoding
from service.policies.repository import PolicyRepository
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)
_REMEMBERED: Final = 32


class Frames:
    """Loads each frame once, and forgets those that were not asked for lately."""

    def __init__(self, repository: PolicyRepository) -> None:
        self._repository = repository
        self._known: OrderedDict[tuple[str, str, int], Frame] = OrderedDict()

    async def of(self, keys: PolicyKeys, taken: Taken) -> Frame | None:
        """How a decision was encoded, or None when that cannot be known any more."""
        return await self.at(keys, taken.config_hash, taken.catalog)

    async def at(self, keys: PolicyKeys, config_hash: str, revision: int) -> Frame | None:
        """The frame of a configuration and a catalog revision, or None if Redis lacks one of them."""
        name = (keys.policy, config_hash, revision)
        if name not in self._known:
            frame = await self._load(keys, config_hash, revision)
            if frame is None:
                return None
            self._known[name] = frame
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return self._known[name]

    async def _load(self, keys: PolicyKeys, config_hash: str, revision: int) -> Frame | None:
        body = await self._repository.config_of(keys, config_hash)
        document = await self._repository.catalog(keys, revision)
        if body is None or document is None:
            return None
        try:
            # In a thread: a catalog of 50,000 actions takes half a second to encode.
            return await asyncio.to_thread(_build, body, document)
        except (AgentCoreError, msgspec.MsgspecError, ValueError) as error:
            log.error("frame_unusable", policy=keys.policy, config=config_hash, error=str(error))
            return None


def _build(body: bytes, document: CatalogDocument) -> Frame:
    agent = parse_policy(msgspec.json.decode(body)).agent
    return Frame(agent.feature_schema, Encoding(agent, document), agent.safety.build())
