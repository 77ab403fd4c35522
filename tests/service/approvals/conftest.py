"""A desk on which approvals land."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.service.approvals.desk import Desk, open_desk


@pytest.fixture
async def desk(redis_url: str) -> AsyncIterator[Desk]:
    async with open_desk(redis_url) as opened:
        yield opened
