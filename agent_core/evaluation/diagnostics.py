"""How much a log can say about a target policy, whatever the rewards were. Letters: T decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent_core.types import Doubles


def weight_moments(target: Doubles, behaviour: Doubles) -> tuple[float, float]:
    """Mean and variance that the weight of one decision has, by the probabilities `[A]` of both policies.

    The mean is 1 less what the target policy does and the behaviour policy never does.
    """
    tried = behaviour > 0
    ours, theirs = target[tried], behaviour[tried]
    mean = float(ours.sum())
    return mean, max(0.0, float((ours**2 / theirs).sum()) - mean**2)


@dataclass(frozen=True, slots=True)
class WeightSums:
    """Sums over T weights, which are ratios: nothing was clipped. Parts of a log are merged in any order.

    `means`, `variances`: sums of `weight_moments`; None where they are not known of every decision.
    """

    count: int
    total: float
    squares: float
    shared: float
    largest: float
    means: float | None = None
    variances: float | None = None

    @classmethod
    def of(cls, ratio: Doubles, moments: Doubles | None = None) -> WeightSums:
        """`ratio`: `[T]`, at least one. `moments`: `[T, 2]`, `weight_moments` of each decision."""
        shared = np.minimum(ratio, 1.0).sum()
        means, variances = (None, None) if moments is None else map(float, moments.sum(0))
        return cls(
            len(ratio),
            float(ratio.sum()),
            float(ratio @ ratio),
            float(shared),
            float(ratio.max()),
            means,
            variances,
        )

    def merged(self, other: WeightSums) -> WeightSums:
        return WeightSums(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            self.shared + other.shared,
            max(self.largest, other.largest),
            _both(self.means, other.means),
            _both(self.variances, other.variances),
        )

    @property
    def mean(self) -> float:
        """`expected_mean` but for chance, or propensities are wrong."""
        return self.total / self.count

    @property
    def expected_mean(self) -> float:
        """1 less how much of what the target policy does was never tried; 1 where that is not known."""
        return 1.0 if self.means is None else self.means / self.count

    @property
    def mean_error(self) -> float:
        """Standard error of the mean weight: what the probabilities imply, where they are known. One from the
        weights that were seen is far too small while the rare large ones were not."""
        if self.variances is not None:
            return math.sqrt(self.variances) / self.count
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


def _both(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
