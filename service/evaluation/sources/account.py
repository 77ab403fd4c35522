"""What became of the rows of one reading of a log."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from agent_core.errors import AgentCoreError
from service.errors import ServiceError
from service.evaluation.steps import RefusedRow

UNUSABLE: Final = (
    msgspec.MsgspecError,
    ServiceError,
    AgentCoreError,
    ValueError,
    KeyError,
    OverflowError,
    RecursionError,
)
"""What reading one row may raise: that row is refused, and the next one is read."""
_KEPT: Final = 100


class Account:
    """`refused`: the first hundred rows that could not be used. `skipped`: how many were left out, by
    reason; with all that were refused."""

    def __init__(self) -> None:
        self.refused: list[RefusedRow] = []
        self.skipped: Counter[str] = Counter()

    def skip(self, reason: str) -> None:
        """Counts a row that is rightly left out."""
        self.skipped[reason] += 1

    def refuse(self, row: str, why: str, reason: str = "refused") -> None:
        """Tells of a row that should have been usable."""
        self.skip(reason)
        if len(self.refused) < _KEPT:
            self.refused.append(RefusedRow(row, why))


def said(error: BaseException) -> str:
    """What an error says of a row, with the place inside the row."""
    if isinstance(error, ServiceError) and error.errors:
        return "; ".join(f"{one.pointer or '/'}: {one.detail}" for one in error.errors)
    return str(error)
