"""Real child processes for tests: started, waited for, killed, and never left behind.

    def test_...(children: Children):
        port = free_port()
        api = children.nacre("serve", environment={"NACRE_PORT": str(port), ...})
        api.wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), what="/readyz")
        ...
        api.kill()

What a child prints goes to a file; the end of it is in the message of every failed wait, and all of it
is among pytest's captured output when the test fails.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from service.redis_server import dying_with_parent

_POLL_S = 0.02
_STOP_S = 10.0
_TAIL_CHARACTERS = 4000


def wait_until(
    is_true: Callable[[], bool],
    *,
    what: str,
    timeout_s: float = 20.0,
    context: Callable[[], str] = lambda: "",
) -> None:
    """Returns as soon as `is_true()`; fails the test with `what` and `context()` when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s for {what}\n{context()}", pytrace=False)
        time.sleep(_POLL_S)


def answers(url: str, status: int = 200) -> bool:
    """Whether an HTTP GET of `url` is answered, now, with `status`."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code == status
    except OSError:
        return False


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """One running child process. Made by `Children`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal number if a signal ended it."""
        return self._process.poll()

    def output(self) -> str:
        """Everything it has printed so far, stdout and stderr as they came."""
        return self.log.read_text(errors="replace")

    def wait_until(
        self, is_true: Callable[[], bool], *, what: str, timeout_s: float = 20.0
    ) -> None:
        """Waits for `is_true()`, and fails at once, with its output, if the process ends before that."""

        def true_or_dead() -> bool:
            return is_true() or self.exit_code is not None

        wait_until(true_or_dead, what=self._describe(what), timeout_s=timeout_s, context=self._tail)
        if self.exit_code is not None and not is_true():
            pytest.fail(
                f"{self.name} ended with {self.exit_code} before {what}\n{self._tail()}",
                pytrace=False,
            )

    def wait(self, timeout_s: float = _STOP_S) -> int:
        """Its exit code, once it has ended."""
        wait_until(
            lambda: self.exit_code is not None,
            what=self._describe("to end"),
            timeout_s=timeout_s,
            context=self._tail,
        )
        return self._process.returncode

    def kill(self) -> None:
        """Ends this one process as a crash does; what it had started must notice by itself."""
        self._process.kill()
        self._process.wait()

    def terminate(self, timeout_s: float = _STOP_S) -> int:
        """Asks it to end (SIGTERM), as an orchestrator does; returns its exit code."""
        self._process.terminate()
        return self.wait(timeout_s)

    def end(self) -> None:
        """For tear-down: asks, insists after a while, and leaves nothing of its session behind."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def _describe(self, what: str) -> str:
        return f"{self.name} (pid {self.pid}): {what}"

    def _tail(self) -> str:
        return f"--- the end of what {self.name} printed:\n{self.output()[-_TAIL_CHARACTERS:]}"


class Children:
    """The child processes of one test."""

    def __init__(self, log_directory: Path) -> None:
        self._log_directory = log_directory
        self._started: list[Child] = []

    def spawn(
        self,
        command: Sequence[str],
        *,
        name: str,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Child:
        """Starts `command` in a session of its own, with `environment` on top of the test's own.

        It gets SIGTERM if this pytest process dies, so start children from the test itself, not a thread.
        """
        log = self._log_directory / f"{len(self._started)}-{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                dying_with_parent(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                cwd=directory,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._started.append(child)
        return child

    def nacre(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Child:
        """Starts `nacre <arguments>` from this source tree."""
        command = [sys.executable, "-m", "service.cli", *arguments]
        return self.spawn(command, name=f"nacre-{arguments[0]}", environment=environment)

    def end_all(self) -> None:
        """Ends them, the last one first, and prints what each said for pytest to show on failure."""
        for child in reversed(self._started):
            child.end()
        for child in self._started:
            sys.stdout.write(
                f"\n=== {child.log.name}, ended with {child.exit_code}\n{child.output()}"
            )


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """Starts child processes that are gone when the test is."""
    logs = tmp_path / "children"
    logs.mkdir()
    started = Children(logs)
    yield started
    started.end_all()
