"""How much a log can say about a target policy, whatever the rewards were. Letters: T decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent_core.types import Doubles


@dataclass(frozen=True, slots=True)
class WeightSums:
    """Sums over T weights, which are ratios: nothing was clipped. Parts of a log are merged in any order."""

    count: int
    total: float
    squares: float
    shared: float
    largest: float

    @classmethod
    def of(cls, ratio: Doubles) -> WeightSums:
        """`ratio`: `[T]`, at least one."""
        shared = np.minimum(ratio, 1.0).sum()
        return cls(
            len(ratio), float(ratio.sum()), float(ratio @ ratio), float(shared), float(ratio.max())
        )

    def merged(self, other: WeightSums) -> WeightSums:
        return WeightSums(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            self.shared + other.shared,
            max(self.largest, other.largest),
        )

    @property
    def mean(self) -> float:
        """1 but for chance; what is missing is what the behaviour policy never does, or wrong propensities."""
        return self.total / self.count

    @property
    def mean_error(self) -> float:
        """Standard error of the mean weight."""
        variance = self.squares / self.count - self.mean**2
        return math.sqrt(max(variance, 0.0) / self.count)

    @property
    def effective_size(self) -> float:
        """How many decisions of the target policy's own the log is worth, up to T (Kong 1992); 0 if none."""
        return self.total**2 / self.squares if self.squares else 0.0

    @property
    def overlap(self) -> float:
        """In [0, 1]: the mean of min(ratio, 1), which estimates sum_a min(target, behaviour), that is 1
        less the total variation distance of both policies."""
        return self.shared / self.count
