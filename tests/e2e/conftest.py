"""Deployments for tests that break them, and one for the tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.redis_server import PrivateRedis
from tests.support.access import KEYS, keys_setting
from tests.support.deployment import Deploy, Deployment, deployed


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Deploy]:
    """Makes deployments of the test's own, each on the Redis that it is given."""
    with ExitStack() as stack:

        def make(redis_url: str, **settings: str) -> Deployment:
            folder = tmp_path / f"nacre-{len(list(tmp_path.glob('nacre-*')))}"
            return stack.enter_context(deployed(folder, redis_url, **settings))

        yield make


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """API, worker and learner with API keys, shared by tests that break nothing for each other."""
    folder = tmp_path_factory.mktemp("stack")
    settings = {"NACRE_API_KEYS": keys_setting(), "NACRE_BODY_TIMEOUT_S": "1"}
    with (
        PrivateRedis(folder / "redis") as server,
        deployed(folder / "nacre", server.url, **settings) as nacre,
    ):
        nacre.http.headers["authorization"] = f"Bearer {KEYS['admin']}"
        nacre.serve()
        nacre.worker()
        nacre.learner()
        yield nacre
