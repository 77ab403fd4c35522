"""Deployments for tests that break them, and one for the tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.deployment import Deploy, Deployment, deployed


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Deploy]:
    """Makes deployments of the test's own, each on the Redis that it is given."""
    with ExitStack() as stack:

        def make(redis_url: str, **settings: str) -> Deployment:
            folder = tmp_path / f"nacre-{len(list(tmp_path.glob('nacre-*')))}"
            return stack.enter_context(deployed(folder, redis_url, **settings))

        yield make
