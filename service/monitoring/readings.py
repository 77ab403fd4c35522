"""What one signal says of one window."""

from __future__ import annotations

import math

from msgspec import Struct


class Reading(Struct, frozen=True, kw_only=True):
    """A number, and the limit beyond which it counts as a difference.

    `signal`: a `SignalName`, or `constraint:` and the name of one.
    `kind`: what of the signal was compared, such as `mmd` or the name of a component; empty where it is one thing.
    `value` and `limit` are in the same unit. `is_beyond`: whether the value is on the wrong side. `p_value`: null where
    the comparison has none. `is_severe`: so far that it counts towards a trip.
    """

    signal: str
    kind: str = ""
    value: float
    limit: float
    is_beyond: bool
    p_value: float | None = None
    is_severe: bool = False


def finite(value: float) -> float:
    """`value` as JSON can say it: cut off at 1e300 either way, and 0 for what is no number."""
    if math.isnan(value):
        return 0.0
    return max(-1e300, min(1e300, value))
