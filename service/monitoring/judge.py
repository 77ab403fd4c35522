"""From what windows say to alarms, with a memory of a few windows. No Redis, no clock.

none -> warning     bad for as many windows in a row as the signal needs
any  -> trip        bad enough in as many of the last windows as the policy declares, or at once
warning -> none     two good windows in a row
trip -> none        only by a recovery, which begins the signal anew
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from service.monitoring.readings import Reading
from service.policies.config import PolicyConfig

Level = Literal["", "warning", "trip"]
_REMEMBERED: Final = 20
_CALM: Final = 2
_IN_A_ROW: Final = 2
_AT_ONCE: Final = frozenset({"reward", "range", "too_good"})
"""Signals of which one window is enough for a warning; all others need two in a row."""


class Alarm(Struct, frozen=True, kw_only=True):
    """One signal. `level`: empty while all is well. `since_ms`: when that level began. `recent`, `severe`: of the last
    windows, whether they were beyond the limit, and far enough for a trip. `healthy`: good windows in a row.
    `reading`: the worst of the last window, or what tripped."""

    level: Level = ""
    since_ms: int = 0
    recent: tuple[bool, ...] = ()
    severe: tuple[bool, ...] = ()
    healthy: int = 0
    reading: Reading | None = None


class AlarmChange(Struct, frozen=True, kw_only=True):
    """What the stream of alarms keeps, and what is told to others. `level`: the new one, empty for the end."""

    signal: str
    level: Level
    before: Level
    at_ms: int
    why: str
    value: float
    limit: float


class Need(Struct, frozen=True):
    """Of the last `of` windows, `needed` must be severe for a trip; `needed` 0 never trips."""

    needed: int = 0
    of: int = 1


def needs_of(config: PolicyConfig) -> dict[str, Need]:
    """What the policy declared to trip, by signal."""
    trips = config.trips
    found: dict[str, Need] = {}
    if trips.reward is not None:
        found["reward"] = Need(trips.reward.windows, trips.reward.of)
    if trips.state is not None:
        found["states"] = Need(trips.state.windows, trips.state.of)
    if trips.latency is not None:
        found["latency"] = Need(1, 1)
    if trips.exploration:
        found["exploration"] = Need(_IN_A_ROW, _IN_A_ROW)
    return found


def silent_in(config: PolicyConfig) -> frozenset[str]:
    """Signals that raise no alarm: as declared, or those that learning itself changes. A sequential policy also makes its
    own states, and those of an episode resemble each other, so windows are never alike."""
    declared = config.monitoring.silent
    if declared is not None:
        return frozenset(declared)
    is_sequential = "sequential" in config.agent.policy_learner.capabilities
    makes_states = is_sequential and config.trips.state is None
    return frozenset({"actions", "rewards", *({"states"} if makes_states else ())})


def judged(
    alarms: Mapping[str, Alarm],
    readings: Sequence[Reading],
    needs: Mapping[str, Need],
    silent: frozenset[str],
    at_ms: int,
) -> dict[str, Alarm]:
    """The alarms after one more window. Signals that it says nothing of stay as they are."""
    by_signal: defaultdict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        if reading.signal not in silent:
            by_signal[reading.signal].append(reading)
    after = dict(alarms)
    for signal, said in by_signal.items():
        before = alarms.get(signal, Alarm())
        after[signal] = _after(signal, before, said, needs.get(signal, Need()), at_ms)
    return after


def tripped(alarm: Alarm, reading: Reading | None, at_ms: int) -> Alarm:
    """The alarm at the level `trip`, whatever windows say."""
    if alarm.level == "trip":
        return alarm
    return replace(alarm, level="trip", since_ms=at_ms, reading=reading or alarm.reading)


def recovered(alarms: Mapping[str, Alarm], at_ms: int) -> dict[str, Alarm]:
    """All that tripped begin anew: what they remember is of a time that is over."""
    return {
        signal: Alarm(since_ms=at_ms) if alarm.level == "trip" else alarm
        for signal, alarm in alarms.items()
    }


def changes(
    before: Mapping[str, Alarm], after: Mapping[str, Alarm], at_ms: int
) -> list[AlarmChange]:
    """Signals whose level is another one now."""
    found = []
    for signal in sorted(before.keys() | after.keys()):
        alarm = after.get(signal, Alarm(since_ms=at_ms))
        was = before.get(signal, Alarm()).level
        if was != alarm.level:
            found.append(_change(signal, was, alarm, at_ms))
    return found


def why(signal: str, reading: Reading | None) -> str:
    """One sentence for people."""
    if reading is None:
        return f"{signal} is as it was expected"
    what = f"{signal} ({reading.kind})" if reading.kind else signal
    if reading.p_value is not None:
        return (
            f"{what} is {reading.value:.4g}; the probability of that without a change is "
            f"{reading.p_value:.2g}, and the limit {reading.limit:.2g}"
        )
    verb = "beyond" if reading.is_beyond else "within"
    return f"{what} is {reading.value:.4g}, {verb} its limit of {reading.limit:.4g}"


def _after(signal: str, alarm: Alarm, said: Sequence[Reading], need: Need, at_ms: int) -> Alarm:
    is_bad = any(one.is_beyond for one in said)
    is_severe = any(one.is_severe for one in said)
    worst = next((one for one in said if one.is_severe), None)
    worst = worst or next((one for one in said if one.is_beyond), said[0])
    seen = replace(
        alarm,
        recent=(*alarm.recent, is_bad)[-_REMEMBERED:],
        severe=(*alarm.severe, is_severe)[-_REMEMBERED:],
        healthy=0 if is_bad else alarm.healthy + 1,
        reading=alarm.reading if alarm.level == "trip" else worst,
    )
    level = _level(signal, seen, need)
    return seen if level == seen.level else replace(seen, level=level, since_ms=at_ms)


def _level(signal: str, alarm: Alarm, need: Need) -> Level:
    if alarm.level == "trip" or (need.needed and sum(alarm.severe[-need.of :]) >= need.needed):
        return "trip"
    in_a_row = 1 if signal in _AT_ONCE else _IN_A_ROW
    if len(alarm.recent) >= in_a_row and all(alarm.recent[-in_a_row:]):
        return "warning"
    is_calm = len(alarm.recent) >= _CALM and not any(alarm.recent[-_CALM:])
    return "" if is_calm else alarm.level


def _change(signal: str, was: Level, alarm: Alarm, at_ms: int) -> AlarmChange:
    reading = alarm.reading
    return AlarmChange(
        signal=signal,
        level=alarm.level,
        before=was,
        at_ms=at_ms,
        why=why(signal, reading),
        value=reading.value if reading else 0.0,
        limit=reading.limit if reading else 0.0,
    )
