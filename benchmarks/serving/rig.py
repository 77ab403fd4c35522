"""The set-up that is measured: servers pinned to one core, the load generator and Redis to another.

with Rig(directory) as rig:
    result = rig.fire("floor", shots, seconds=1.0)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import httpx
import msgspec
import redis

from benchmarks.serving.load import Load, Plan, Result
from benchmarks.serving.workload import CATALOGS, by_ids, catalog, policy_file, questions
from service.redis_server import PrivateRedis
from service.stack import free_port

NACRE: Final = "nacre"
_PEERS: Final = ("floor", "no_log", "naive_async", "naive_frozen", "naive_def")
_REDIS_BYTES: Final = 3 * 2**30
_START_S: Final = 120.0
_ROOT: Final = Path(__file__).resolve().parents[2]


class RigError(Exception):
    """The set-up cannot be made, or a server does not answer as it must."""


class _Server:
    """One running server."""

    def __init__(
        self, command: Sequence[str], port: int, environment: Mapping[str, str], output: Path
    ) -> None:
        self.port = port
        self._output = output
        with output.open("wb") as sink:
            self._process = subprocess.Popen(
                command, cwd=_ROOT, env=os.environ | environment, stdout=sink, stderr=sink
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while not _is_ready(f"http://127.0.0.1:{self.port}/readyz"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RigError(
                    f"a server did not start:\n{self._output.read_text('utf-8')[-3000:]}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Rig:
    """Everything that runs during a benchmark; ends with the block."""

    def __init__(self, directory: Path) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise RigError("two cores are needed: one for the server, one for the load and Redis")
        self._server_core, self._load_core = cores[:2]
        self._directory = directory
        self._servers: dict[str, _Server] = {}
        self._stack = ExitStack()
        self.artefacts = directory / "artefacts"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(pinned_to(self._load_core))
            private = PrivateRedis(self._directory / "redis", maxmemory_bytes=_REDIS_BYTES)
            self._redis = stack.enter_context(private)
            self._client = stack.enter_context(redis.Redis.from_url(self._redis.url))
            # Rewrites of the append-only file are made between windows, never within one.
            self._client.config_set("auto-aof-rewrite-percentage", 0)
            self.http = stack.enter_context(httpx.Client(timeout=60.0))
            stack.callback(self._stop_servers)
            self._start_servers()
            self._kept = {key: self._client.dump(key) for key in self._client.keys("*")}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def redis_url(self) -> str:
        return self._redis.url

    # -- servers --------------------------------------------------------------------------------

    @property
    def has_vw(self) -> bool:
        """Whether Vowpal Wabbit is installed."""
        return find_spec("vowpalwabbit") is not None

    def url(self, server: str) -> str:
        return f"http://127.0.0.1:{self._servers[server].port}"

    def _start_servers(self) -> None:
        self._start(NACRE, "-m", "service.cli", "serve")
        self._servers[NACRE].wait_until_ready()
        for policy in CATALOGS:
            put = {name: {"vector": row} for name, row in catalog(policy).items()}
            url = f"{self.url(NACRE)}/v1/policies/{policy}/actions"
            self.http.put(url, json={"put": put}).raise_for_status()
        for peer in (*_PEERS, *(("vw",) if self.has_vw else ())):
            self._start(peer, "-m", "benchmarks.serving.servers", peer)
        for server in self._servers.values():
            server.wait_until_ready()

    def _start(self, name: str, *command: str) -> None:
        port = free_port()
        arguments = (sys.executable, *command, *(() if name == NACRE else (str(port),)))
        environment, output = self._environment(port), self._directory / f"{name}.log"
        with pinned_to(self._server_core):
            self._servers[name] = _Server(arguments, port, environment, output)

    def _environment(self, port: int) -> Mapping[str, str]:
        policies = self._directory / "policies"
        policies.mkdir(exist_ok=True)
        for policy in CATALOGS:
            (policies / f"{policy}.json").write_bytes(msgspec.json.encode(policy_file(policy)))
        return {
            "OMP_NUM_THREADS": "1",
            "REDIS_URL": self._redis.url,
            "NACRE_PORT": str(port),
            "NACRE_POLICIES": str(policies),
            "NACRE_ARTEFACTS": str(self.artefacts),
            "NACRE_STATE": str(self._directory / "state"),
            "NACRE_LOG_LEVEL": "warning",
        }

    def _stop_servers(self) -> None:
        for server in self._servers.values():
            server.stop()

    # -- load -----------------------------------------------------------------------------------

    def fire(self, server: str, load: Load) -> Result:
        """One window of load on one server.

        Raises:
            RigError: the load generator failed.
        """
        with self.firing(server, load) as one:
            return one.result()

    @contextmanager
    def firing(self, server: str, load: Load) -> Iterator[Firing]:
        """The same in the background, for the time of the block."""
        target = self._servers[server]
        plan = Plan(load, target.port, target.pid, self._other_pids(target))
        firing = Firing(plan, self._directory)
        try:
            yield firing
        finally:
            firing.stop()

    def _other_pids(self, target: _Server) -> list[int]:
        servers = [one.pid for one in self._servers.values() if one is not target]
        return [os.getpid(), self._redis.pid, *servers]

    def forget(self) -> None:
        """Removes every decision, so that no case pays for another one's data."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.flushall()
            for key, value in self._kept.items():
                pipe.restore(key, 0, value)
            pipe.execute()
        self._client.bgrewriteaof()
        while self._client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.01)

    def decide(self, policy: str, count: int) -> list[str]:
        """Makes `count` decisions that rewards can be sent for; returns their ids."""
        asked = questions(policy)
        ids = [f"decision-{at}" for at in range(count)]
        for start in range(0, count, 250):
            requests = [
                by_ids(policy, asked[at % len(asked)], decision_id=decision_id)
                for at, decision_id in enumerate(ids[start : start + 250])
            ]
            self._decide_batch(requests)
        return ids

    def _decide_batch(self, requests: list[dict[str, Any]]) -> None:
        url = f"{self.url(NACRE)}/v1/act:batch"
        answer = self.http.post(url, json={"requests": requests}).raise_for_status().json()
        wrong = [one for one in answer["responses"] if one["status"] != 200]
        if wrong:
            raise RigError(f"a batch was not answered: {wrong[0]}")


class Firing:
    """A load generator at work."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        order = directory / "plan.msgpack"
        order.write_bytes(msgspec.msgpack.encode(plan))
        with order.open("rb") as source:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.serving.load"],
                cwd=_ROOT,
                stdin=source,
                stdout=subprocess.PIPE,
            )

    def result(self) -> Result:
        """What happened, once it is over.

        Raises:
            RigError: the load generator failed.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RigError("the load generator failed; its error is above")
        return msgspec.msgpack.decode(output, type=Result)

    def finish(self) -> None:
        """Asks it to send no more and to report."""
        self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """Ends it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def pinned_to(core: int) -> Iterator[None]:
    """This process, and what it starts meanwhile, runs on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _is_ready(url: str) -> bool:
    """Peers have no such page: that they answer at all is enough."""
    try:
        return httpx.get(url, timeout=2.0).status_code != 503
    except httpx.HTTPError:
        return False
