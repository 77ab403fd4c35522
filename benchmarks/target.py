"""What a number of a headline should reach."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A bound of one number of the headline. None of them can be negative: such a value was not measured
    but is noise or a mistake of the benchmark, and meets nothing."""

    bound: float
    is_least: bool

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.is_least else 0 <= value <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.is_least else 'at most'} {self.bound:g}"
