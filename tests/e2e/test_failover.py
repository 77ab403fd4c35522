"""The primary dies and its replica takes over: which acknowledged decisions are there afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from service.redis_server import find_server
from tests.support.deployment import Deploy
from tests.support.load import Load
from tests.support.policies import bandit
from tests.support.processes import Child, Children, free_port
from tests.support.proxy import BackgroundProxy, FaultProxy

pytestmark = pytest.mark.faults


class Server:
    """A Redis on TCP, as replication needs it."""

    def __init__(self, children: Children, folder: Path) -> None:
        folder.mkdir()
        self._port = free_port()
        command = [
            *(str(find_server()), "--port", str(self._port), "--dir", str(folder)),
            *("--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0"),
        ]
        self.process: Child = children.spawn(command, name="redis")
        self.client = redis.Redis(port=self._port)
        self.process.wait_until(self._answers, what="PING")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def follow(self, url: str) -> None:
        """Becomes a replica, and returns when it has everything."""
        self.client.replicaof("127.0.0.1", url.rpartition(":")[2].partition("/")[0])
        self.process.wait_until(self._is_linked, what="the replica to have everything")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def _is_linked(self) -> bool:
        return bool(self.client.info("replication")["master_link_status"] == "up")


@pytest.fixture
def start_server(children: Children, tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    started: list[Server] = []

    def start(name: str) -> Server:
        started.append(Server(children, tmp_path / name))
        return started[-1]

    yield start
    for server in started:
        server.client.close()


def test_a_failover_loses_only_what_was_labelled(
    start_server: Callable[[str], Server], deploy: Deploy
) -> None:
    """Failure table row 32.

    `replicated` promises that a decision without the header `nacre-durability` is on the replica.
    `stream` promises Redis' memory and file, not the replica: what the primary had not sent is lost.
    What was answered without any primary is in the spool, and reaches the new one.
    """
    primary, replica = start_server("primary"), start_server("replica")
    with BackgroundProxy(primary.url) as line:
        replica.follow(line.url)
        before = deploy(primary.url)
        api = before.serve()
        before.register(bandit("safe", durability="replicated"))
        before.register(bandit("quick", durability="stream"))
        with Load(before.url, "safe") as safe, Load(before.url, "quick", callers=2) as quick:
            safe.wait_for(60, lambda ack: not ack.durability)
            line.apply(FaultProxy.stall)
            safe.wait_for(8, lambda ack: ack.durability == "unreplicated")
            quick.wait_for(8, lambda ack: not ack.durability)
            primary.process.kill()
            killed_at = time.monotonic()
            safe.wait_for(8, lambda ack: ack.durability == "spooled")
        api.kill()

    replica.client.replicaof("NO", "ONE")
    after = before.on(replica.url)
    after.wait_ready(after.serve())
    after.wait_delivered()

    assert not safe.refusals
    assert not quick.refusals
    lost = {
        ack
        for load, policy in ((safe, "safe"), (quick, "quick"))
        for ack in load.acks
        if not after.has(policy, ack.decision_id)
    }
    assert lost.isdisjoint(ack for ack in safe.acks if not ack.durability)
    assert lost.isdisjoint(ack for ack in safe.acks + quick.acks if ack.asked_at > killed_at)
    assert {ack.durability for ack in lost if ack in safe.acks} >= {"unreplicated"}
    assert {ack.durability for ack in lost if ack in quick.acks} >= {""}, "the window of `stream`"
