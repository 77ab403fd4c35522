"""Reading windows."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.functional.windows import oldest_first, rows_and_counts, rows_there

# Three rows of a flag and two numbers: a full window, one of a single step, and "nothing follows".
_WINDOWS = torch.tensor(
    [
        [1.0, 1, 2, 1, 3, 4, 1, 5, 6],
        [0.0, 0, 0, 0, 0, 0, 1, 7, 8],
        [0.0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
)


def test_rows_lose_their_flags_which_are_counted_and_the_present_always_counts() -> None:
    rows, counts = rows_and_counts(_WINDOWS, 3)

    assert counts.tolist() == [3, 1, 1]
    assert rows[0].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert rows[1].tolist() == [[0, 0], [0, 0], [7, 8]]


def test_rotated_rows_begin_with_the_oldest_that_is_there() -> None:
    rows, counts = rows_and_counts(_WINDOWS, 3)

    rotated = oldest_first(rows, counts)

    assert rotated[0].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert rotated[1].tolist() == [[7, 8], [0, 0], [0, 0]]


def test_one_window_is_read_without_what_is_absent() -> None:
    read = [rows_there(window, 3).tolist() for window in _WINDOWS.numpy()]

    assert read == [[[1, 2], [3, 4], [5, 6]], [[7, 8]], [[0, 0]]]


def test_rows_may_be_empty() -> None:
    window = np.ones(4, np.float32)

    assert rows_there(window, 1).shape == (4, 0)
