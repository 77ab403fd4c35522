"""A table with labels as a contextual bandit (Dudik et al. 2011; Zhu et al. 2023, appendix B.3).

One row is shown; choosing its label is worth 1 and any other 0, plus normal noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from agent_core.types import Floats

NOISE: Final = 0.1
"""Standard deviation. The paper names sigma and gives no number."""


class LabelTable(NamedTuple):
    """`rows`: `[M, S]` float32, each column with mean 0 and standard deviation 1. `labels`: `[M]` in [0, K)."""

    rows: Floats
    labels: npt.NDArray[np.int64]

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1


def load_table(path: Path) -> LabelTable:
    """Reads `X` `[M, S]` and `y` `[M]` from an npz file; whatever else it holds is left alone.

    Raises:
        ValueError: an array is missing, or their lengths differ.
    """
    with np.load(path, allow_pickle=False) as found:
        if missing := {"X", "y"} - set(found.files):
            raise ValueError(f"{path.name} lacks {', '.join(sorted(missing))}; save X and y in it")
        rows, labels = found["X"].astype(np.float64), found["y"].astype(np.int64)
    if len(rows) != len(labels):
        raise ValueError(
            f"{path.name} has {len(rows)} rows and {len(labels)} labels; save one each"
        )
    deviation = rows.std(axis=0)
    scaled = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return LabelTable(scaled.astype(np.float32), labels)


class LabelBandit(gymnasium.Env[Floats, int]):
    """Observes one row, drawn with replacement; every decision terminates."""

    def __init__(self, table: LabelTable, noise: float = NOISE) -> None:
        self._table = table
        self._noise = noise
        low, high = table.rows.min(axis=0), table.rows.max(axis=0)
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.action_space: spaces.Discrete[Any] = spaces.Discrete(table.classes)
        self._shown = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._shown = int(self.np_random.integers(len(self._table.labels)))
        return self._observation(), {}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        is_right = float(action == self._table.labels[self._shown])
        reward = is_right + float(self.np_random.normal(0.0, self._noise))
        return self._observation(), reward, True, False, {}

    def _observation(self) -> Floats:
        row: Floats = self._table.rows[self._shown].copy()
        return row
