"""What a distance from the reference looks like where nothing has changed, measured on the reference itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agent_core.monitoring.storage import Stored
from agent_core.monitoring.tails import pair_count
from agent_core.types import Doubles


@dataclass(frozen=True, slots=True, eq=False)
class NullScores(Stored):
    """`scores`: `[draws]` ascending, of windows that were drawn from the reference. `rows`: of the reference.

    A score is a squared distance times n m / (n + m), whose distribution depends on sizes no more; so windows need
    not have the size of those drawn here, only be of the same order.
    """

    scores: Doubles
    rows: int

    @classmethod
    def of(
        cls,
        reference: Doubles,
        distance: Callable[[Doubles], float],
        size: int,
        draws: int,
        random: np.random.Generator,
    ) -> NullScores:
        """`distance`: of some rows `[size, d]` of the `reference` `[T, d]` from all of it, in squared units.

        A window inside the reference is nearer to it than a new one would be, by (n - m) / (n + m): the score
        makes up for that. Rows are drawn as if independent; where they come in bursts, real windows vary more.

        Raises:
            ValueError: the reference has fewer than twice `size` rows.
        """
        count = len(reference)
        if count < 2 * size:
            raise ValueError(
                f"the reference has {count} rows and windows have {size}; take at least {2 * size} rows for it"
            )
        inside = count * size / (count - size)
        picks = (random.choice(count, size, replace=False) for _ in range(draws))
        scores = [inside * distance(reference[pick]) for pick in picks]
        return cls(np.sort(scores), count)

    def quantile(self, probability: float) -> float:
        """The score that a share of `probability`, in [0, 1], of unchanged windows is below."""
        return float(np.quantile(self.scores, probability))

    def p_value(self, distance: float, size: int) -> float:
        """The share of unchanged windows as far away as one of `size` rows at `distance`; never below
        1 / (draws + 1), which is all that so many draws can say."""
        score = distance * pair_count(size, self.rows)
        above = len(self.scores) - int(np.searchsorted(self.scores, score))
        return (above + 1) / (len(self.scores) + 1)
