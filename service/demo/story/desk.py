"""What an operator does: over HTTP, as anybody would; and one thing that no operator should."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import torch
from redis.asyncio import Redis

from agent_core.snapshot import PolicySnapshot
from service.clock import now_ms, rfc3339
from service.demo.errors import DemoError
from service.demo.stage import Stage
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository, VersionDescription
from service.policies.store import read_config
from service.repository import PolicyKeys

_LOOK_S: Final = 0.2
_PATIENCE_S: Final = 120.0
_SPOILED: Final = 666
T = TypeVar("T")


class Desk:
    """One policy of a running service. `http`: speaks to it."""

    def __init__(self, stage: Stage, http: httpx.AsyncClient) -> None:
        self._stage = stage
        self._policy = stage.policy
        self._http = http

    # -- looking ----------------------------------------------------------------------------------

    async def get(self, path: str = "") -> Any:
        """The JSON of `/v1/policies/{policy}<path>`."""
        return await self._asked("GET", f"/v1/policies/{self._policy}{path}")

    async def live(self) -> int:
        """The number of the live version."""
        return number_of((await self.get())["live"])

    async def newest(self) -> int:
        """The highest version that there is."""
        versions = (await self.get("/versions"))["versions"]
        return max(number_of(one["model_version"]) for one in versions)

    async def seen(
        self, look: Callable[[], Awaitable[T | None]], what: str, within_s: float = _PATIENCE_S
    ) -> T:
        """Looks until something is there.

        Raises:
            DemoError: it was not in time.
        """
        deadline = time.monotonic() + within_s
        while (found := await look()) is None:
            if time.monotonic() > deadline:
                rollout = await self.get("/rollout")
                raise DemoError(f"waited {within_s:g} s for {what}; the rollout: {rollout}")
            await asyncio.sleep(_LOOK_S)
        return found

    # -- doing ------------------------------------------------------------------------------------

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Does something to the policy."""
        return await self._asked("POST", f"/v1/policies/{self._policy}{path}", body)

    async def declare(self, **changes: Any) -> None:
        """Changes sections of the policy file."""
        config = (await self.get())["config"]
        for section, values in changes.items():
            config[section] = {**(config[section] or {}), **values}
        await self._asked("PUT", f"/v1/policies/{self._policy}", config)

    async def approve(self, approval_id: str, why: str) -> Any:
        """Says yes."""
        path = f"/v1/approvals/{self._policy}/{approval_id}/approve"
        return await self._asked("POST", path, {"why": why})

    async def pending_approval(self) -> dict[str, Any] | None:
        """What waits for a person, if anything does."""
        found = await self._asked("GET", f"/v1/approvals?policy={self._policy}")
        approvals: list[dict[str, Any]] = found["approvals"]
        return approvals[0] if approvals else None

    async def _asked(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = await self._http.request(method, path, json=body)
        if answer.is_error:
            raise DemoError(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()

    async def publish_spoiled(self) -> int:
        """Publishes a candidate whose weights are random, as a broken training run might."""
        keys = PolicyKeys(self._policy)
        async with Redis.from_url(self._stage.stack.redis_url) as client:
            repository = PolicyRepository(client)
            meta = await repository.meta(keys)
            assert meta is not None, "the policy is there"
            config, made_at = read_config(meta.config), rfc3339(now_ms())
            version = await repository.next_version(keys)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(_SPOILED)
                policy = config.agent.policy_learner.build_policy(config.agent.spec)
            snapshot = PolicySnapshot.of(
                policy,
                policy_name=self._policy,
                model_version=version,
                config=config.agent,
                created_at=made_at,
            )
            ArtefactStore(self._artefacts).save(self._policy, version, snapshot)
            description = VersionDescription(
                version=version,
                parent=meta.live,
                made_at=made_at,
                config_hash=config.config_hash,
                feature_schema=config.agent.feature_schema,
                experience=0,
                updates=0,
            )
            await repository.publish(keys, description, promote=False)
        return version

    @property
    def _artefacts(self) -> Path:
        return self._stage.archive.parent.parent / "artefacts"


def number_of(model_version: str) -> int:
    """42 of `story@42`."""
    return int(model_version.rpartition("@")[2])
