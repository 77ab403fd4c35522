"""A background task ends when it is told to, even if it swallows the first cancellation."""

from __future__ import annotations

import asyncio

import pytest

from service.tasks import end


async def test_a_task_that_swallows_a_cancellation_still_ends() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    await asyncio.wait_for(end(task), 5)

    assert task.cancelled()
    assert swallowed == 3


@pytest.mark.parametrize("fails", [False, True])
async def test_a_task_that_ended_by_itself_is_left_alone(fails: bool) -> None:
    async def short() -> None:
        if fails:
            raise ValueError("told to nobody")

    task = asyncio.create_task(short())
    await asyncio.wait({task})

    await end(task)

    assert task.done()
