"""What every test may rely on: real Redis, real processes, one thread of arithmetic, the same examples."""

from __future__ import annotations

import os
import sys

# Before torch is imported by anyone, children included: two cores are shared by all test workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from tests.support.processes import children
from tests.support.redis import redis_client, redis_server, redis_url, start_redis

__all__ = ["children", "redis_client", "redis_server", "redis_url", "start_redis"]

# The same examples in every run, and no deadline: a busy machine is not a bug.
settings.register_profile("nacre", derandomize=True, deadline=None)
settings.load_profile("nacre")


_LONG = ("test_run_demo.py", "test_program.py", "test_jobs.py", "test_learner_killed.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest go first, so that no core waits for them in the end."""
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture(autouse=True)
def _the_same_chance_in_every_run() -> None:
    """Initial weights come from torch's global generator; only tests leave it unseeded."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, which is what the service runs on."""
    return "asyncio"
