"""The wire contract of watching, and what Redis keeps of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from service.decisions.schemas import Strict
from service.monitoring.judge import AlarmChange, Level
from service.monitoring.readings import Reading


class WindowView(Struct, frozen=True, kw_only=True):
    """A window that was judged. `kind`: outcomes or decisions. `arm`: live, or fallback while the policy is tripped.
    Times are RFC 3339."""

    kind: str
    arm: str
    began_at: str
    ended_at: str
    rows: int
    readings: list[Reading]


class AlarmView(Struct, frozen=True, kw_only=True):
    """A signal as it stands. `level`: empty while all is well. `reading`: the worst of its last window."""

    signal: str
    level: Level
    since: str
    why: str
    reading: Reading | None


class ReferenceView(Struct, frozen=True, kw_only=True):
    """What windows are compared with. `outcomes`, `decisions`, `states`: rows that it is made of, null while it is
    collected. `baseline`: the mean reward that is expected, null while it is not known."""

    lineage: int
    outcomes: int | None
    decisions: int | None
    states: int | None
    baseline: float | None


class ConstraintView(Struct, frozen=True, kw_only=True):
    """Evidence that a constraint is broken: `e_value` against the `limit` at which the policy trips, and the largest
    that it has been."""

    constraint: str
    e_value: float
    highest: float
    limit: float
    violations: int


class MonitoringView(Struct, frozen=True, kw_only=True):
    """How watching stands. `arm`: whose outcomes are judged. `waiting`: rows in the windows that are open."""

    policy: str
    at: str
    arm: str
    waiting: dict[str, int]
    reference: ReferenceView
    alarms: list[AlarmView]
    constraints: list[ConstraintView]


class MonitoringAnswer(Struct, frozen=True, kw_only=True):
    """What GET answers. `status`: null before the worker saw anything of the policy. `windows`: newest first."""

    policy: str
    status: MonitoringView | None
    windows: list[WindowView]


class AlarmsAnswer(Struct, frozen=True, kw_only=True):
    """`active`: signals that are alarmed now. `changes`: newest first."""

    policy: str
    active: list[AlarmView]
    changes: list[AlarmChange]


class ForgetRequest(Strict, frozen=True):
    """Why what is seen now is what is to be expected from now on."""

    why: Annotated[str, Meta(max_length=2000)] = ""
