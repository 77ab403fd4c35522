"""All who follow the logs, by the names under which their states are kept."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import Redis

from service.following.observer import Opener
from service.settings import Settings


def openers(client: Redis, settings: Settings) -> Mapping[str, Opener]:
    """What opens each of them."""
    return {}
