"""All of Nacre on one machine: a private Redis and the three processes, started and stopped together.

    with Stack(directory, policies=folder) as stack:
        ... stack.url ...

A child that dies is started again, with a growing pause; what it had acknowledged is in Redis.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import structlog

from service.redis_server import PrivateRedis

log = structlog.get_logger(__name__)
ROLES = ("serve", "worker", "learner")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0


class StackError(Exception):
    """The stack did not become ready; the message holds the end of the logs."""


@dataclass(slots=True)
class _Child:
    role: str
    process: subprocess.Popen[bytes]
    log: Path
    pause_s: float = _FIRST_PAUSE_S
    restart_at: float | None = None
    restarts: int = field(default=0)


class Stack:
    """Redis (unless `redis_url` is given), API, worker and learner as child processes."""

    def __init__(
        self,
        directory: Path,
        *,
        policies: Path | None = None,
        redis_url: str | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        redis_memory_bytes: int = 512 * 2**20,
    ) -> None:
        self._directory = directory.resolve()
        self._policies = policies.resolve() if policies else None
        self._redis_url = redis_url
        self._redis_memory_bytes = redis_memory_bytes
        self._environment = dict(environment or {})
        self._children: dict[str, _Child] = {}
        self._stack = ExitStack()
        self._redis: PrivateRedis | None = None
        self._is_stopping = False
        self.host = host
        self.port = port or free_port()

    @property
    def url(self) -> str:
        """Where the API listens."""
        return f"http://{self.host}:{self.port}"

    @property
    def redis_url(self) -> str:
        assert self._redis_url is not None, "known once the stack has started"
        return self._redis_url

    def pid(self, role: str) -> int:
        """The process id of a role, for those who watch or kill it."""
        return self._children[role].process.pid

    def __enter__(self) -> Stack:
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            if self._redis_url is None:
                place = self._directory / "redis"
                redis = PrivateRedis(place, maxmemory_bytes=self._redis_memory_bytes)
                self._redis = self._stack.enter_context(redis)
                self._redis_url = redis.url
            for role in ROLES:
                self._children[role] = self._spawn(role)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self, role: str) -> _Child:
        output = self._directory / f"{role}.log"
        environment = os.environ | self._settings() | self._environment
        with output.open("ab") as sink:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and module, no shell
                [sys.executable, "-m", "service.cli", role],
                env=environment,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        return _Child(role, process, output)

    def _settings(self) -> dict[str, str]:
        folders = {
            name: str(self._directory / name)
            for name in ("artefacts", "archive", "checkpoints", "state")
        }
        settings = {f"NACRE_{name.upper()}": path for name, path in folders.items()}
        settings |= {
            "REDIS_URL": self.redis_url,
            "NACRE_HOST": self.host,
            "NACRE_PORT": str(self.port),
        }
        settings |= {"NACRE_PARENT": str(os.getpid()), "OMP_NUM_THREADS": "1"}
        if self._policies is not None:
            settings["NACRE_POLICIES"] = str(self._policies)
        return settings

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Returns when the API can decide.

        Raises:
            StackError: it cannot after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._is_ready():
                return
            self.tend()
            time.sleep(0.05)
        raise StackError(f"{self.url} was not ready after {timeout_s:g} s\n{self.log_tails()}")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:  # noqa: S310  # our own http URL
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def tend(self) -> None:
        """Starts again what died; call it now and then, from the main thread."""
        now = time.monotonic()
        if self._redis is not None and self._redis.exit_code is not None and not self._is_stopping:
            log.error("redis_died", code=self._redis.exit_code, action="starting it again")
            self._redis.restart()
        for role, child in list(self._children.items()):
            if self._is_stopping or child.process.poll() is None:
                continue
            if child.restart_at is None:
                log.error(
                    "child_died",
                    role=role,
                    code=child.process.returncode,
                    restart_in_s=child.pause_s,
                )
                child.restart_at = now + child.pause_s
            elif now >= child.restart_at:
                fresh = self._spawn(role)
                fresh.pause_s = min(child.pause_s * 2, _LONGEST_PAUSE_S)
                fresh.restarts = child.restarts + 1
                self._children[role] = fresh

    def log_tails(self, lines: int = 8) -> str:
        """The end of every child's log, for error messages."""
        tails = []
        for child in self._children.values():
            text = child.log.read_text("utf-8", "replace") if child.log.exists() else ""
            tails.append(f"--- {child.role}\n" + "\n".join(text.splitlines()[-lines:]))
        return "\n".join(tails)

    def stop(self) -> None:
        """Asks every child to finish, waits, and stops the private Redis last."""
        self._is_stopping = True
        for child in self._children.values():
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        for child in self._children.values():
            try:
                child.process.wait(15)
            except subprocess.TimeoutExpired:
                log.warning("child_killed", role=child.role, reason="did not stop within 15 s")
                child.process.kill()
                child.process.wait()
        self._stack.close()


def free_port() -> int:
    """A TCP port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
