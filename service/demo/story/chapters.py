"""The chapters, in their order. Each ends with what it claims."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import numpy as np

from service.demo.story.claims import Claim
from service.demo.story.desk import Desk, number_of
from service.demo.story.traffic import Answered, Traffic

Chapter = Callable[[Desk, Traffic], Awaitable[list[Claim]]]

_LEARNED: Final = 0.75
"""Right answers from which on the policy counts as trained; a fifth of its decisions stay random."""
_EVIDENCE: Final = 1_000
_OF_WHAT_IT_WAS: Final = 0.9
_TRIPPED: Final = "tripped:reward"


async def learning(desk: Desk, traffic: Traffic) -> list[Claim]:
    """The policy learns in the open; then nothing goes live by itself any more."""
    await traffic.more(1_500)
    while traffic.recent_share() < _LEARNED and len(traffic.answers) < 6_000:
        await traffic.more(200)
    await desk.declare(
        learning={"auto_promote": False}, approval={"promotions": True, "wait_s": 300}
    )
    await traffic.more(400)
    share = traffic.recent_share()
    await desk.declare(monitoring={"baseline": share})
    return [
        Claim(
            "it_learned",
            f"the policy is right in {_LEARNED:g} of its answers or more",
            share >= _LEARNED,
            {"right": share, "decisions": len(traffic.answers), "live": await desk.live()},
        )
    ]


async def bad_candidate(desk: Desk, traffic: Traffic) -> list[Claim]:
    """A candidate with random weights is stopped before it has decided anything."""
    first, version = len(traffic.answers), await desk.publish_spoiled()
    await desk.post("/rollout", {"version": version, "why": "a training run ended"})
    event = await desk.seen(_ended(desk, version), "the gate's verdict on the bad candidate")
    decided = [one for one in traffic.since(first) if number_of(one.model_version) == version]
    return [
        Claim(
            "stopped_at_the_gate",
            "the bad candidate is stopped by evaluation on the log, and never decides",
            event["detail"]["to"] == "retired" and not decided,
            {"version": version, "decisions": len(decided), "why": event["why"]},
        )
    ]


async def forced_canary(desk: Desk, traffic: Traffic) -> list[Claim]:
    """Somebody sends it round the gate: its own rewards give it away."""
    first, version = len(traffic.answers), await desk.publish_spoiled()
    started_s = time.perf_counter()
    asked = {"version": version, "at": "canary", "why": "somebody is in a hurry"}
    await desk.post("/rollout", asked)
    event = await desk.seen(_ended(desk, version), "the canary to be rolled back")
    ended_s, ended = time.perf_counter(), len(traffic.answers)
    after = await traffic.more(100)
    exposed = [one for one in traffic.since(first)[: ended - first] if one.arm == "canary"]
    late = [one.at_s - ended_s for one in after if one.arm == "canary"]
    return [
        Claim(
            "rolled_back_from_the_canary",
            "forced past the gate, it is rolled back on the rewards of its canary",
            event["detail"]["to"] == "retired" and bool(exposed),
            {
                "seconds": ended_s - started_s,
                "exposed_decisions": len(exposed),
                "right_in_the_canary": _share(exposed),
                "why": event["why"],
            },
        ),
        Claim(
            "rolled_back_everywhere",
            "within two seconds of the rollback the candidate decides nothing more",
            max(late, default=0.0) < 2.0,
            {"last_decision_after_s": max(late, default=0.0)},
        ),
    ]


async def good_candidate(desk: Desk, traffic: Traffic) -> list[Claim]:
    """What was learned since passes gate and canary, and a person lets it go live."""
    before, version = await desk.live(), await desk.newest()
    await traffic.more(_EVIDENCE)  # it is evaluated on what was decided after it was made
    await desk.post("/rollout", {"version": version, "why": "the newest of the learner"})
    approval = await desk.seen(desk.pending_approval, "the approval to be asked for")
    held = await desk.live()
    await desk.approve(approval["approval_id"], "gate and canary agree")
    event = await desk.seen(_ended(desk, version), "the approved version to go live")
    after = await traffic.more(100)
    live = await desk.live()
    return [
        Claim(
            "approval_asked_and_given",
            "the good candidate passes gate and canary, waits for a person, and goes live",
            held == before and event["detail"]["to"] == "live" and live == version,
            {
                "before": before,
                "live": live,
                "asked_for": approval["model_version"],
                "right_after": _share(after),
            },
        )
    ]


async def drifted_inputs(desk: Desk, traffic: Traffic) -> list[Claim]:
    """The world shows three of the ten digits: no reward falls, but the inputs are others."""
    was = await _alarms(desk)
    traffic.shown = (0, 1, 6)
    started_s = time.perf_counter()

    async def look() -> dict[str, Any] | None:
        found = await _alarms(desk)
        return found.get("states")

    alarm = await desk.seen(look, "an alarm of the inputs")
    seconds = time.perf_counter() - started_s
    traffic.shown = tuple(range(10))
    return [
        Claim(
            "drift_alarms",
            "inputs unlike those it was trained on raise an alarm",
            "states" not in was,
            {"seconds": seconds, "level": alarm["level"], "why": alarm["why"]},
        )
    ]


async def broken_feed(desk: Desk, traffic: Traffic) -> list[Claim]:
    """Every reward comes as 0: the policy trips, its fallback decides, and it recovers."""
    await traffic.more(400)
    right, started_s = traffic.recent_share(), time.perf_counter()
    traffic.is_feed_broken = True
    trip = await desk.seen(_trip(desk), "the policy to trip")
    tripped_s, first = time.perf_counter() - started_s, len(traffic.answers)
    during = (await traffic.more(300))[100:]
    traffic.is_feed_broken = False
    await desk.seen(_no_trip(desk), "the policy to recover")
    recovered_s, _ = time.perf_counter() - started_s, await traffic.more(100)
    after = await traffic.more(300)
    why = Counter(one.why for one in during)
    return [
        Claim(
            "fallback_trips",
            "a reward feed that breaks trips the policy, and every decision says that its fallback decided",
            trip["signal"] == "reward" and set(why) == {_TRIPPED},
            {"seconds": tripped_s, "why": trip["why"], "decisions_seen": len(during)},
        ),
        Claim(
            "fallback_recovers",
            "it recovers by the declared rule, and is as good as before",
            _share(after) >= _OF_WHAT_IT_WAS * right and not any(one.why for one in after),
            {
                "seconds": recovered_s,
                "right_before": right,
                "right_meanwhile": _share(during),
                "right_after": _share(after),
                "decisions_by_the_fallback": sum(
                    one.why == _TRIPPED for one in traffic.since(first)
                ),
            },
        ),
    ]


ALL: Final[Sequence[Chapter]] = (
    learning,
    bad_candidate,
    forced_canary,
    good_candidate,
    drifted_inputs,
    broken_feed,
)


# -- what they look at --------------------------------------------------------------------------


def _share(answers: Sequence[Answered]) -> float:
    return float(np.mean([one.is_right for one in answers] or [0.0]))


def _ended(desk: Desk, version: int) -> Callable[[], Awaitable[dict[str, Any] | None]]:
    """The event that ended the rollout of `version`."""

    async def look() -> dict[str, Any] | None:
        events: list[dict[str, Any]] = (await desk.get("/events"))["events"]
        for event in events:
            detail = event.get("detail") or {}
            is_end = detail.get("to") in ("live", "retired")
            if is_end and detail.get("candidate") == version:
                return event
        return None

    return look


def _trip(desk: Desk) -> Callable[[], Awaitable[dict[str, Any] | None]]:
    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] | None = (await desk.get())["trip"]
        return found

    return look


def _no_trip(desk: Desk) -> Callable[[], Awaitable[bool | None]]:
    async def look() -> bool | None:
        return True if (await desk.get())["trip"] is None else None

    return look


async def _alarms(desk: Desk) -> dict[str, dict[str, Any]]:
    """The alarms of now, by their signals."""
    found = (await desk.get("/alarms"))["active"]
    return {one["signal"]: one for one in found}
