"""Whether a policy trips, and whether a tripped one recovers. No Redis, no clock."""

from __future__ import annotations

from collections.abc import Mapping

from service.monitoring.judge import Alarm, why
from service.policies.head import Trip
from service.trips.rule import TripRule


def stand_in(previous: int, quarantined: frozenset[int]) -> int:
    """The version before the live one, if it may decide in its place: 0 without one, and for one that was left because
    it did harm."""
    return 0 if previous in quarantined else previous


def trip_of(
    alarms: Mapping[str, Alarm], rule: TripRule, previous: int, trip_id: str, now_ms: int
) -> Trip | None:
    """The trip that the alarms call for, named after the one that began first; None while there is none.

    `previous`: from `stand_in`.
    """
    found = [(alarm.since_ms, name) for name, alarm in alarms.items() if alarm.level == "trip"]
    if not found:
        return None
    _, signal = min(found)
    return new_trip(rule, previous, trip_id, signal, why(signal, alarms[signal].reading), now_ms)


def new_trip(
    rule: TripRule, previous: int, trip_id: str, signal: str, reason: str, now_ms: int
) -> Trip:
    """A trip that begins now, by what the policy declares."""
    wait_ms = 0 if rule.recover_s is None else int(rule.recover_s * 1000)
    return Trip(
        trip_id=trip_id,
        signal=signal,
        why=reason,
        at_ms=now_ms,
        version=previous if rule.serve == "previous" else 0,
        recover_ms=now_ms + wait_ms if wait_ms else 0,
    )


def recovery_of(trip: Trip, rule: TripRule, healthy_windows: int, now_ms: int) -> str:
    """Why the policy may decide again, or empty while it may not.

    `healthy_windows`: windows in a row, since the trip, in which the signal that tripped was well.
    """
    if trip.recover_ms and now_ms >= trip.recover_ms:
        return f"{(now_ms - trip.at_ms) / 1000:g} s have passed since the trip"
    wanted = rule.recover_windows
    if wanted is not None and healthy_windows >= wanted:
        return f"{trip.signal} was well in {healthy_windows} windows in a row"
    return ""
