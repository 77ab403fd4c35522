"""The few types that everything else speaks.

Acting works on numpy arrays, one decision at a time: at the sizes that a server sees (tens of actions,
small nets) numpy costs a quarter of torch's dispatch. Learning works on torch tensors in batches.
Shape letters: B batch, A actions of one decision, N actions of a whole batch, S state, D action
features, R rank of a posterior.

Everything here is immutable. The three types that every decision makes say so by `Final`, which the
type checker holds, and the others by `frozen`, which costs 0.06 us per field of every object made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ProblemSpec:
    """The sizes that every module is built for.

    `state_dim`: S, length of the featurized observation. `action_dim`: D, length of one represented
    action. `max_actions`: the largest action set that the edge accepts.
    """

    state_dim: int
    action_dim: int
    max_actions: int


@dataclass(slots=True, eq=False)
class ActionSet:
    """The actions available to one decision.

    `ids`: A distinct ids, in the caller's order. `features`: `[A, D]` float32, represented.
    """

    ids: Final[tuple[str, ...]]
    features: Final[Floats]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True, eq=False)
class ActionScores:
    """What a policy thinks of each available action.

    `value`: `[A]` float64, the expected return. `spread`: `[A, R]` or None, a factor of the posterior
    covariance (covariance = spread @ spread.T), so that the standard deviation of action a is the
    norm of row a and a joint posterior draw is `value + spread @ z` with z standard normal.
    """

    value: Final[Doubles]
    spread: Final[Doubles | None] = None


@dataclass(slots=True, eq=False)
class Decision:
    """One choice, with everything needed to evaluate it later.

    `index`: position of the chosen action in the action set. `propensity`: its probability in (0, 1].
    `probabilities`: `[A]` float64, sums to 1, exactly 0 for actions that were not allowed.
    `value`: `[A]` float64 scores. `is_greedy`: whether the choice has the highest allowed score.
    """

    index: Final[int]
    propensity: Final[float]
    probabilities: Final[Doubles]
    value: Final[Doubles]
    is_greedy: Final[bool]


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """One finished step, ready to learn from.

    `state`: `[S]`. `action`: position in `actions`. `reward`, `cost`: finite floats. `next_state`:
    `[S]` or None when nothing follows. `next_actions`: the safe actions available next, or None.
    `terminated` stops bootstrapping, `truncated` does not. A bandit decision is `terminated`.
    `propensity`: probability in (0, 1] under the behaviour policy. `model_version`: 0 if the
    behaviour policy was not ours.
    """

    decision_id: str
    state: Floats
    actions: ActionSet
    action: int
    reward: float
    cost: float
    next_state: Floats | None
    next_actions: ActionSet | None
    terminated: bool
    truncated: bool
    propensity: float
    model_version: int


@dataclass(frozen=True, slots=True, eq=False)
class RaggedActions:
    """The action sets of a batch as one flat table, never padded.

    `features`: `[N, D]` float32. `offsets`: `[B + 1]` int64; the set of row b is
    `features[offsets[b]:offsets[b + 1]]`, and may be empty.
    """

    features: torch.Tensor
    offsets: torch.Tensor

    def segments(self) -> torch.Tensor:
        """`[N]` int64: the batch row that each action belongs to."""
        counts = self.offsets[1:] - self.offsets[:-1]
        rows = torch.arange(counts.numel(), device=counts.device)
        return torch.repeat_interleave(rows, counts, output_size=self.features.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class TransitionBatch:
    """B transitions as tensors.

    `state`, `next_state`: `[B, S]` (zeros where nothing follows). `action`: `[B]` int64, position in
    the row's set. `reward`, `cost`, `propensity`: `[B]`. `bootstraps`: `[B]` float, 1 where the next
    state's value counts (not terminated and a next state is known), else 0.
    """

    state: torch.Tensor
    actions: RaggedActions
    action: torch.Tensor
    reward: torch.Tensor
    cost: torch.Tensor
    next_state: torch.Tensor
    next_actions: RaggedActions
    bootstraps: torch.Tensor
    propensity: torch.Tensor

    def chosen_rows(self) -> torch.Tensor:
        """`[B]` int64: the row of `actions.features` that was taken."""
        return self.actions.offsets[:-1] + self.action

    def chosen_features(self) -> torch.Tensor:
        """`[B, D]`: the features of the actions that were taken."""
        return self.actions.features.index_select(0, self.chosen_rows())
