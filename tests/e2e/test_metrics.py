"""The worker has no HTTP of its own; its metrics are served where the operator says."""

from __future__ import annotations

import httpx
import pytest

from tests.support.processes import Children, answers, free_port

pytestmark = pytest.mark.faults


def test_the_worker_serves_its_metrics_on_the_port_it_is_given(
    children: Children, redis_url: str
) -> None:
    port = free_port()
    environment = {"REDIS_URL": redis_url, "NACRE_METRICS_PORT": str(port)}
    worker = children.nacre("worker", environment=environment)

    worker.wait_until(lambda: answers(f"http://127.0.0.1:{port}/metrics"), what="/metrics")

    assert "nacre_redis_used_memory_bytes" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
