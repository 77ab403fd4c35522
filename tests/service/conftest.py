"""An application with a policy or two, for tests of HTTP behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api import running_api, settings_for

Put = Callable[[dict[str, Any]], Awaitable[None]]


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The application without any policy."""
    async with running_api(settings_for(redis_url, tmp_path)) as client:
        yield client


@pytest.fixture
def put(api: httpx.AsyncClient) -> Put:
    """Registers a policy."""

    async def put_policy(document: dict[str, Any]) -> None:
        answer = await api.put(f"/v1/policies/{document['policy']}", json=document)
        assert answer.status_code in (200, 201), answer.text

    return put_policy
