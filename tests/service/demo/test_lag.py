"""The lag from a reward to the first answer of a model that learned from it."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest
from nacre_client import AsyncClient

from service.demo.lag import LagProbe, Sightings


def learned_by(*answers: Sequence[str]) -> httpx.MockTransport:
    """A service that answers what learned from a decision, one answer a question."""
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        decision_id = request.url.path.rpartition("/")[2]
        life = {"decision_id": decision_id, "policy": "p", "state": "rewarded"}
        return httpx.Response(200, json=life | {"learned_by": list(next(left))})

    return httpx.MockTransport(answer)


def test_a_version_counts_from_the_first_time_it_is_seen() -> None:
    sightings = Sightings()
    for label, at_s in (("p@1", 10.0), ("p@2", 12.0), ("p@2", 13.0), ("p@1", 14.0)):
        sightings.saw(label, at_s)

    assert sightings.swaps == 1
    assert sightings.newest == "p@2"
    assert sightings.served_s(2) == 12.0


def test_a_later_version_serves_what_a_skipped_one_had_learned() -> None:
    sightings = Sightings()
    sightings.saw("p@1", 10.0)
    sightings.saw("p@9", 15.0)

    assert sightings.served_s(8) == 15.0
    assert sightings.served_s(10) is None


async def test_the_lag_ends_with_the_first_answer_of_a_version_that_learned_it() -> None:
    sightings = Sightings()
    sightings.saw("p@3", 100.0)
    sightings.saw("p@4", 101.5)
    async with AsyncClient(policy="p", transport=learned_by((), ("p@5", "p@4"))) as client:
        probe = LagProbe(client, sightings, ask_every_s=0)
        # Posted half a second before version 4 was first seen.
        await probe.follow("d", posted_s=101.0)

    assert probe.lags_s() == pytest.approx([0.5])
    assert probe.median_s() == pytest.approx(0.5)


async def test_a_reward_that_is_never_served_takes_forever() -> None:
    sightings = Sightings()
    sightings.saw("p@1", 100.0)
    async with AsyncClient(policy="p", transport=learned_by(("p@2",))) as client:
        probe = LagProbe(client, sightings, ask_every_s=0)
        await probe.follow("d", posted_s=101.0)

    assert probe.lags_s() == [float("inf")]
    assert probe.median_s() is None


def test_nothing_followed_has_no_median() -> None:
    assert LagProbe(AsyncClient(policy="p"), Sightings()).median_s() is None
