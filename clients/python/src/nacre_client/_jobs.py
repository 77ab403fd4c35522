"""Handles on a learning job that the service runs; they can wait for its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import _calls
from ._errors import DeadlineExceededError
from ._models import JobState

if TYPE_CHECKING:
    from ._async_client import AsyncClient
    from ._client import Client

DEFAULT_WAIT_S = 600.0
POLL_S = 0.5


class Job:
    """A handle on one job.

    job = client.learn(max_steps=200)
    final = job.wait(timeout_s=60)
    final.status, final.detail
    """

    def __init__(self, client: Client, state: JobState) -> None:
        self._client = client
        self.state = state

    def refresh(self) -> JobState:
        """Asks for the state now; it is also kept in `state`."""
        self.state = self._client._send(_calls.job(self.state.job_id))
        return self.state

    def wait(self, timeout_s: float = DEFAULT_WAIT_S, poll_s: float = POLL_S) -> JobState:
        """The state at the job's end, good or bad.

        Raises:
            DeadlineExceededError: it is still unfinished after `timeout_s`; the job itself goes on.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self.refresh().is_finished:
            time.sleep(_pause_s(self.state, deadline_s, poll_s))
        return self.state


class AsyncJob:
    """A handle on one job, for asyncio; see `Job`."""

    def __init__(self, client: AsyncClient, state: JobState) -> None:
        self._client = client
        self.state = state

    async def refresh(self) -> JobState:
        """Asks for the state now; it is also kept in `state`."""
        self.state = await self._client._send(_calls.job(self.state.job_id))
        return self.state

    async def wait(self, timeout_s: float = DEFAULT_WAIT_S, poll_s: float = POLL_S) -> JobState:
        """The state at the job's end, good or bad.

        Raises:
            DeadlineExceededError: it is still unfinished after `timeout_s`; the job itself goes on.
        """
        import asyncio

        deadline_s = time.monotonic() + timeout_s
        while not (await self.refresh()).is_finished:  # noqa: ASYNC110 - its end is an event elsewhere
            await asyncio.sleep(_pause_s(self.state, deadline_s, poll_s))
        return self.state


def _pause_s(state: JobState, deadline_s: float, poll_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise DeadlineExceededError(
            f"job {state.job_id} is still {state.status}; wait longer, or look again with client.job(...)"
        )
    return min(poll_s, left_s)
