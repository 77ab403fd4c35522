"""Codes of ids, looked up in a table and put before the features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import Field

from agent_core.types import Floats

Ids: TypeAlias = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class IdCodes:
    """Row i of `codes` `[len(ids) + 1, C]` stands for `ids[i]`, its last row for any other id."""

    def __init__(self, ids: Sequence[str], codes: Floats, feature_dim: int) -> None:
        self.dim = codes.shape[1] + feature_dim
        self._codes = codes
        self._rows = {action_id: row for row, action_id in enumerate(ids)}
        self._unknown = len(ids)

    def encode(self, ids: Sequence[str], features: Floats) -> Floats:
        codes = self._codes.take(list(map(self._rows.get, ids, repeat(self._unknown))), axis=0)
        return np.concatenate((codes, features), axis=1) if features.shape[1] else codes
