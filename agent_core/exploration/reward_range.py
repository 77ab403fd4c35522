"""What explorations assume of rewards that weigh a gap between values by its size."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator


def _wide_enough(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if high - low < _NARROWEST or low < -_WIDEST or high > _WIDEST:
        raise ValueError(
            f"is no range of rewards; write [low, high], at least {_NARROWEST:g} apart and "
            f"between {-_WIDEST:g} and {_WIDEST:g}"
        )
    return limits


# Within these, no rate times a gap over the width overflows.
_NARROWEST, _WIDEST = 1e-9, 1e12

RewardRange: TypeAlias = Annotated[tuple[float, float], AfterValidator(_wide_enough)]
"""`[low, high]`: between what the expected rewards of a decision lie."""

UNIT_RANGE: RewardRange = (0.0, 1.0)
"""What the papers assume, as losses."""
