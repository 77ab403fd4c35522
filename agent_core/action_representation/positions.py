"""Ids as positions: the number of a row in a table that somebody else keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent_core.functional.keys import key_of
from agent_core.types import Floats

MOST_ROWS = 2**24
"""Beyond it, neighbouring positions are the same number in float32."""


class IdPositions:
    """Puts the position of the id, one of `rows`, before the features.

    `ids[i]` has position i for itself. Any other id has one of the positions after them, by its hash:
    always the same, and shared with other ids where there are more of them than positions.
    """

    def __init__(self, ids: Sequence[str], rows: int, feature_dim: int) -> None:
        self.dim = 1 + feature_dim
        self._own = {action_id: row for row, action_id in enumerate(ids)}
        self._shared = rows - len(ids)

    def encode(self, ids: Sequence[str], features: Floats) -> Floats:
        positions = np.array([[self._position(i)] for i in ids], np.float32).reshape(-1, 1)
        return np.concatenate((positions, features), axis=1) if features.shape[1] else positions

    def _position(self, action_id: str) -> int:
        own = self._own.get(action_id)
        return len(self._own) + key_of(action_id) % self._shared if own is None else own
