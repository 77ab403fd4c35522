"""Growth of the tables that replay memories are made of."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Number = TypeVar("_Number", np.float32, np.int64)


def widened(table: npt.NDArray[_Number], room: int) -> npt.NDArray[_Number]:
    """A copy of `table` with `room` rows, the new ones zero (and not resident until written)."""
    wide = np.zeros((room, table.shape[1]), table.dtype)
    wide[: len(table)] = table
    return wide
