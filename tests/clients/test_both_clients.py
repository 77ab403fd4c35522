"""The blocking and the asyncio client are one client twice."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from nacre_client import AsyncClient, AsyncEpisode, AsyncJob, Client, Episode, Job

PAIRS = [(Client, AsyncClient), (Episode, AsyncEpisode), (Job, AsyncJob)]
WITHOUT_WAITING = {"episode"}


def methods(kind: type) -> dict[str, Any]:
    return {
        name.removeprefix("a") if name == "aclose" else name: value
        for name, value in vars(kind).items()
        if not name.startswith("_") and inspect.isfunction(value)
    }


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_both_have_the_same_methods_with_the_same_parameters(
    blocking: type, asynchronous: type
) -> None:
    def parameters(kind: type) -> dict[str, Any]:
        return {
            name: list(inspect.signature(method).parameters.values())
            for name, method in methods(kind).items()
        }

    assert parameters(blocking) == parameters(asynchronous)


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_what_waits_in_one_is_awaited_in_the_other(blocking: type, asynchronous: type) -> None:
    awaited = {
        name
        for name, method in methods(asynchronous).items()
        if inspect.iscoroutinefunction(method)
    }

    assert awaited == methods(blocking).keys() - WITHOUT_WAITING


def test_the_blocking_client_closes_its_connections_when_it_leaves() -> None:
    with Client() as client:
        pass

    with pytest.raises(RuntimeError, match="closed"):
        client.limits()


async def test_the_asyncio_client_closes_its_connections_when_it_leaves() -> None:
    async with AsyncClient() as client:
        pass

    with pytest.raises(RuntimeError, match="closed"):
        await client.limits()
