"""Limits in 32 bits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.boxes import float32_step, inner_limits
from agent_core.types import Box


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_the_limits_in_32_bits_are_never_beyond_those_in_64(low: float, width: float) -> None:
    box = Box((low,), (low + width,))

    inner_low, inner_high = inner_limits(box)

    # Up to 2^21 the numbers of 32 bits are at most 0.125 apart.
    assert inner_low.dtype == inner_high.dtype == np.float32
    assert box.low[0] <= float(inner_low[0]) <= box.low[0] + 0.13
    assert box.high[0] - 0.13 <= float(inner_high[0]) <= box.high[0]


def test_limits_that_have_32_bits_stay() -> None:
    inner_low, inner_high = inner_limits(Box((-2.0, 0.5), (0.0, 0.75)))

    assert inner_low.tolist() == [-2.0, 0.5]
    assert inner_high.tolist() == [0.0, 0.75]


def test_limits_are_shared_and_cannot_be_written_to() -> None:
    low, high = inner_limits(Box((0.0,), (1.0,)))

    assert not low.flags.writeable
    assert not high.flags.writeable


def test_far_from_zero_float32_numbers_are_a_share_of_the_box_apart() -> None:
    # Next to 2^20 they are 2^-3 apart, an eighth of half of this side; next to 1 they are 2^-23 apart.
    assert float32_step(Box((0.0, 2.0**20), (1.0, 2.0**20 + 2))) == 0.125
    assert float32_step(Box((-1.0,), (1.0,))) == 2.0**-23
