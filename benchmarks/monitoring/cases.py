"""What all three tables are made of: rules, cases, and what came of many runs. Pure."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from agent_core.types import Doubles, Mask

NEVER: Final = np.inf
_POINTS: Final = 40
"""Of a curve, at most."""


class Outcome(msgspec.Struct, frozen=True):
    """What a rule did in one case: the share of runs that it `stopped`, and when (`median`; None where most
    runs were never stopped). `expected`: what the design study measured, in its words; "" if it did not.

    `curve`: the share that was stopped by each of up to 40 moments, evenly up to the end.
    """

    rule: str
    case: str
    has_changed: bool
    runs: int
    stopped: float
    median: float | None
    expected: str
    curve: list[float]

    @property
    def told(self) -> str:
        """The share if nothing changed, else the median with the share if that is not nearly 1."""
        if not self.has_changed:
            return f"{self.stopped:.3f}"
        share = "" if self.stopped > 0.985 else f" ({self.stopped:.2f} stopped)"
        return "never" + share if self.median is None else f"{self.median:,.5g}{share}"


class Table(msgspec.Struct, frozen=True):
    """Outcomes of all rules in all cases, `note` in sentences."""

    title: str
    note: str
    outcomes: list[Outcome]

    def of(self, rule: str, case: str) -> Outcome:
        """
        Raises:
            KeyError: nothing was measured for this rule in this case.
        """
        for outcome in self.outcomes:
            if (outcome.rule, outcome.case) == (rule, case):
                return outcome
        raise KeyError(rule, case)

    @property
    def rules(self) -> list[str]:
        return list(dict.fromkeys(outcome.rule for outcome in self.outcomes))

    @property
    def cases(self) -> list[str]:
        return list(dict.fromkeys(outcome.case for outcome in self.outcomes))


def outcome(
    rule: str, case: str, moments: Doubles, end: float, has_changed: bool, expected: str = ""
) -> Outcome:
    """`moments`: `[runs]`, when each run was stopped; `NEVER` if it was not, by `end`."""
    median = float(np.median(moments))
    points = np.linspace(0, end, min(_POINTS, int(end)) + 1)[1:]
    return Outcome(
        rule=rule,
        case=case,
        has_changed=has_changed,
        runs=len(moments),
        stopped=float((moments <= end).mean()),
        median=median if median <= end else None,
        expected=expected,
        curve=[float((moments <= point).mean()) for point in points],
    )


def first_moment(moments: Doubles, is_stopped: Mask, now: float) -> Doubles:
    """`moments` `[runs]` where runs that are stopped `now` for the first time carry it."""
    return np.where(is_stopped & (moments == NEVER), now, moments)
