"""Processes are killed under load: what was acknowledged is found again, and counted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.load import Load
from tests.support.policies import bandit
from tests.support.processes import Children, wait_until
from tests.support.proxy import BackgroundProxy, FaultProxy
from tests.support.redis import StartRedis, kill

pytestmark = pytest.mark.faults


def test_what_the_api_acknowledged_outlives_it(
    start_redis: StartRedis, children: Children, tmp_path: Path
) -> None:
    """Failure table rows 15, 17 and 31: confirmed ones and those spooled while Redis was away."""
    with BackgroundProxy(start_redis().url) as proxy:
        nacre = Deployment(children, tmp_path, proxy.url)
        api = nacre.serve()
        nacre.register(bandit())
        with Load(nacre.url, "home") as load:
            load.wait_for(150)
            proxy.apply(FaultProxy.refuse)
            load.wait_for(100, lambda ack: ack.durability == "spooled")
            api.kill()

        proxy.apply(FaultProxy.heal)
        again = nacre.serve()
        nacre.wait_ready(again)
        wait_until(lambda: _waiting(nacre) == 0, what="the spool to be delivered")

        assert not load.refusals
        assert [a for a in load.acks if not nacre.has("home", a.decision_id)] == []
        # Delivered twice counts once; a decision whose caller heard nothing may or may not be there.
        assert len(load.acks) <= nacre.counts("home")["decisions"] <= len(load.acks) + load.broken


def _waiting(nacre: Deployment) -> int:
    waiting: int = nacre.http.get("/readyz").json()["redis"]["waiting"]
    return waiting
