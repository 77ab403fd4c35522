"""An implementation at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Contestant(NamedTuple):
    """`step` makes `updates` updates, the drawing of their batches included. `form`: how, if that was chosen
    when it was built."""

    step: Callable[[], object]
    updates: int
    form: str = ""


class NotMeasuredError(Exception):
    """A contestant cannot be built here; the message says why."""
