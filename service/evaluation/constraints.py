"""Constraints as people write them: `cost<=0.1`, `refund>=-0.05`, `reward >= 0.2`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from service.evaluation.errors import EvaluationError

_FORM: Final = re.compile(r"\s*(?P<metric>[^\s<>=\0]+)\s*(?P<sign><=|>=)\s*(?P<limit>\S+)\s*")


@dataclass(frozen=True, slots=True)
class Limit:
    """`metric`: `cost`, `reward`, or a component. `sign`: 1 where it may be at most `limit`, -1 where at least."""

    text: str
    metric: str
    sign: float
    limit: float


def parsed(text: str) -> Limit:
    """
    Raises:
        EvaluationError: it is no constraint.
    """
    found = _FORM.fullmatch(text)
    limit = math.nan if found is None else _number(found["limit"])
    if found is None or not math.isfinite(limit):
        raise EvaluationError(
            f"`{text}` is no constraint; write a metric, <= or >=, and a number, such as cost<=0.1"
        )
    return Limit(text, found["metric"], 1.0 if found["sign"] == "<=" else -1.0, limit)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
