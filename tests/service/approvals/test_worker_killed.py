"""A worker that is killed expires nothing; the next one expires what it left."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.clock import now_ms
from tests.service.approvals.desk import HOLD, Desk
from tests.support.processes import Child, Children
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults


async def expired(desk: Desk, decision_id: str, worker: Child) -> None:
    async def holds() -> bool:
        assert worker.exit_code is None, worker.output()
        return (await desk.item(decision_id)).state == "expired"

    await eventually(holds, 30.0)


async def test_what_fell_due_while_no_worker_ran_expires_with_the_next_one(
    desk: Desk, redis_url: str, tmp_path: Path, children: Children
) -> None:
    quick = HOLD.model_copy(update={"wait_s": 0.1})
    environment = {
        "REDIS_URL": redis_url,
        "NACRE_ARCHIVE": str(tmp_path / "archive"),
        "NACRE_LEASE_S": "1",
    }
    first = children.nacre("worker", environment=environment)
    desk.world.now_ms = now_ms()
    await desk.ask("d1", quick)
    await expired(desk, "d1", first)
    first.kill()
    desk.world.now_ms = now_ms() - 1_000
    await desk.ask("d2", quick)
    assert (await desk.item("d2")).state == "pending"

    await expired(desk, "d2", children.nacre("worker", environment=environment))

    for decision_id in ("d1", "d2"):
        assert await desk.action(decision_id) == ("a", 1.0, "fallback")
    assert len(await desk.logged("decision")) == 2
