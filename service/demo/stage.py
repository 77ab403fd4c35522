"""What every demo stands on: Redis, API, worker and learner in a temporary directory, gone afterwards."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from nacre_client import AsyncClient
from rich.console import Console

from agent_core.policy_files import load_policy_data
from service.stack import Stack

# The archive is what the account is checked against; a demo does not want to wait five seconds for it.
_ARCHIVE_EVERY_S = 1.0


ENDED_BY_SIGTERM: Final = 128 + signal.SIGTERM
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stage:
    """A running service that has one policy."""

    stack: Stack
    policy: str
    archive: Path

    def client(self) -> AsyncClient:
        """Talks to it, as anybody would. The timeout bounds a whole call; a busy machine needs room."""
        return AsyncClient(self.stack.url, policy=self.policy, timeout_s=30.0)


def shipped_policy(name: str) -> dict[str, Any]:
    """One of the policy files beside this module."""
    return dict(load_policy_data(Path(str(files("service.demo") / "policies" / f"{name}.yaml"))))


@contextmanager
def running(policy: Mapping[str, Any], console: Console) -> Iterator[Stage]:
    """Starts everything, and stops everything, whatever happens in between.

    Raises:
        StackError: it did not become ready; the message holds the end of the logs.
    """
    name = str(policy["policy"])
    with tempfile.TemporaryDirectory(prefix="nacre-demo-") as folder, _ended_by_sigterm():
        directory = Path(folder)
        policies = directory / "policies"
        policies.mkdir()
        (policies / f"{name}.json").write_text(json.dumps(policy))
        environment = {"NACRE_ARCHIVE_EVERY_S": str(_ARCHIVE_EVERY_S), "NACRE_LOG_LEVEL": "warning"}
        structlog.configure(
            logger_factory=structlog.PrintLoggerFactory(sys.stderr), cache_logger_on_first_use=False
        )
        with Stack(directory, policies=policies, environment=environment) as stack:
            with console.status("starting Redis, API, worker and learner"):
                stack.wait_ready()
            yield Stage(stack, name, directory / "archive" / name)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM leave through the `finally` blocks, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED_BY_SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def until_sigterm(playing: Coroutine[Any, Any, T]) -> T:
    """Runs to the end, or cancels it when SIGTERM comes.

    Raises:
        SystemExit: SIGTERM came.
    """

    async def run() -> T:
        task = asyncio.current_task()
        assert task is not None
        # Raising from a signal handler, as outside of the loop, would tear a coroutine apart anywhere.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await playing

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        sys.exit(ENDED_BY_SIGTERM)
