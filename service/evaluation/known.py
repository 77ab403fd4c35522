"""What is declared beside a log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Known:
    """`log`: its name, for people. `discount`: of the policy's returns. `least`: what a reward may be at least;
    None is not declared. `most`: by metric, what it may be at most. `components`: names of parts of rewards."""

    log: str
    discount: float = 1.0
    least: float | None = None
    most: Mapping[str, float] = field(default_factory=dict)
    components: frozenset[str] = frozenset()
