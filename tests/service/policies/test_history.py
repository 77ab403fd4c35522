"""The carry of an episode as bytes, worked out by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from agent_core.history.stacking import StackingConfig
from service.policies.history import History


@pytest.fixture
def history() -> History:
    """Three steps of one observed number and one action number: rows of flag, observation, action."""
    return History(StackingConfig(window=3).build(1, 1))


def floats(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def vector(*numbers: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(numbers, np.float32)


def test_before_anything_was_seen_only_the_row_of_now_is_there(history: History) -> None:
    assert history.state(b"", vector(5)).tolist() == [0, 0, 0, 0, 0, 0, 1, 5, 0]


def test_what_was_seen_and_done_moves_into_the_past(history: History) -> None:
    once = history.after(b"", vector(5), vector(0.5))
    twice = history.after(once, vector(6), vector(0.25))

    assert once == floats(0, 0, 0, 1, 5, 0.5)
    assert twice == floats(1, 5, 0.5, 1, 6, 0.25)
    assert history.state(twice, vector(7)).tolist() == [1, 5, 0.5, 1, 6, 0.25, 1, 7, 0]


def test_the_carry_of_another_history_is_refused(history: History) -> None:
    with pytest.raises(ValueError, match="12 bytes, not 24"):
        history.state(floats(1, 2, 3), vector(5))
    with pytest.raises(ValueError, match="another history"):
        history.after(floats(1, 2, 3), vector(5), vector(0))
