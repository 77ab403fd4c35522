"""What the worker does: ends what nobody answered, and tells each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from service.approvals.logic import approval_id_of
from service.approvals.repository import ApprovalKeys
from service.approvals.runner import ApprovalRunner
from service.clock import now_ms
from service.webhooks import Announce
from tests.service.approvals.desk import ANSWER, HOLD, Desk

LATE_MS = 61_000
Told = tuple[str, str, dict[str, Any]]


@pytest.fixture
async def runner(desk: Desk) -> Callable[..., ApprovalRunner]:
    """Makes workers for the policy of the desk."""
    watched = await desk.world.watched()

    def make(announce: Announce | None = None) -> ApprovalRunner:
        return ApprovalRunner(desk.client, lambda: [watched], announce)

    return make


def asked_before(desk: Desk, before_ms: int) -> None:
    desk.world.now_ms = now_ms() - before_ms


async def test_what_is_due_expires_and_the_held_decision_gets_its_fallback(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    asked_before(desk, LATE_MS)
    await desk.ask("d1")
    asked_before(desk, 0)
    await desk.ask("d2")

    assert await runner().step() > 0

    assert await desk.action("d1") == ("a", 1.0, "fallback")
    assert (await desk.item("d1")).state == "expired"
    assert (await desk.item("d2")).state == "pending"


async def test_an_approval_that_somebody_deleted_stands_before_no_other(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    asked_before(desk, LATE_MS)
    await desk.ask("d1")
    own = ApprovalKeys(desk.world.keys)
    await desk.client.delete(own.item_prefix + approval_id_of("d1"))

    await runner().step()

    assert await desk.client.zcard(own.pending) == 0


async def test_its_reward_window_begins_when_it_expired(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    asked_before(desk, LATE_MS)
    await desk.ask("d1")
    before_ms = now_ms()

    await runner().step()

    record = await desk.recorded("d1")
    assert record is not None
    assert record.made_ms >= before_ms
    assert record.deadline_ms == record.made_ms + 60_000


async def test_a_new_worker_ends_what_the_one_before_did_not(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    """Killed at any moment of its step: afterwards each decision is recorded once, and told at least once."""
    for kill_at in range(0, 60, 3):
        asked_before(desk, LATE_MS)
        name, told = f"d{kill_at}", []
        await desk.ask(name)
        killed = asyncio.create_task(runner(lambda *about: told.append(about)).step())  # noqa: B023
        for _ in range(kill_at):
            await asyncio.sleep(0)
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)

        await runner(lambda *about: told.append(about)).step()  # noqa: B023

        assert (await desk.item(name)).state == "expired"
        assert {kind for kind, _, _ in told} == {"approval.pending", "approval.expired"}
    assert len(await desk.logged("decision")) == 20


async def test_every_change_is_told_once_in_order(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    told: list[Told] = []
    asked_before(desk, 0)
    await desk.ask("d1")
    await desk.end("d1", "approved", by="ana", why="fine")
    working = runner(lambda *about: told.append(about))

    await working.step()
    await working.step()
    await runner(lambda *about: told.append(about)).step()  # another worker goes on

    assert [(kind, subject) for kind, subject, _ in told] == [
        ("approval.pending", "home"),
        ("approval.approved", "home"),
    ]
    data = told[1][2]
    assert (data["who"], data["why"], data["decision_id"]) == ("ana", "fine", "d1")
    assert data["approval_id"] == approval_id_of("d1")


async def test_what_could_not_be_told_is_told_again(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no way out")

    told: list[Told] = []
    asked_before(desk, 0)
    await desk.ask("d1")

    with pytest.raises(OSError, match="no way out"):
        await runner(broken).step()
    await runner(lambda *about: told.append(about)).step()

    assert [kind for kind, _, _ in told] == ["approval.pending"]


async def test_a_backlog_is_worked_off_without_a_pause(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    asked_before(desk, LATE_MS)
    for number in range(230):
        await desk.ask(f"d{number}", ANSWER)
    working = runner()

    assert await working.step() == 0.0
    while await working.step() == 0.0:
        pass

    assert await desk.approvals.pending(desk.keys) == 0


async def test_metrics_tell_how_many_wait_how_long_and_how_they_ended(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    def metric(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"policy": "home", **labels}) or 0.0

    before = metric("nacre_approvals_total", state="rejected")
    asked_before(desk, 30_000)
    for name in ("d1", "d2", "d3"):
        await desk.ask(name, HOLD)
    await desk.end("d1", "rejected")

    await runner().step()

    assert metric("nacre_approvals_pending") == 2
    assert metric("nacre_approval_age_seconds") == pytest.approx(30, abs=10)
    assert metric("nacre_approvals_total", state="rejected") == before + 1


async def test_a_held_decision_counts_once_as_what_it_became(
    desk: Desk, runner: Callable[..., ApprovalRunner]
) -> None:
    def counted() -> dict[str, float]:
        return {
            became: REGISTRY.get_sample_value(
                "nacre_held_decisions_total", {"policy": "home", "became": became}
            )
            or 0.0
            for became in ("human", "fallback", "void")
        }

    before = counted()
    asked_before(desk, LATE_MS)
    await desk.ask("late")
    asked_before(desk, 0)
    for name in ("good", "bad", "open"):
        await desk.ask(name)
    await desk.ask("answered", ANSWER)  # the fallback acted at once: it was never held
    for name, verdict in (("good", "approved"), ("bad", "rejected"), ("answered", "approved")):
        await desk.end(name, verdict)  # type: ignore[arg-type]
    working = runner()

    await working.step()
    await working.step()

    after = counted()
    assert {name: after[name] - before[name] for name in after} == {
        "human": 1,  # good
        "fallback": 2,  # bad and late
        "void": 0,
    }
