"""The few types that everything else speaks.

Acting works on numpy arrays, one decision at a time: at the sizes that a server sees (tens of actions,
small nets) numpy costs a quarter of torch's dispatch. Learning works on torch tensors in batches.
Shape letters: B batch, T transitions of a block, A actions of one decision, N actions of a whole batch or
block, S state, D action features, R rank of a posterior.

Everything here is immutable. The three types that every decision makes say so by `Final`, which the
type checker holds, and the others by `frozen`, which costs 0.06 us per field of every object made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


class StateSummary(Protocol):
    """How the history module turns a state, which is a window of observations, into what networks see."""

    @property
    def dim(self) -> int:
        """H, length of the summary."""
        ...

    def build_network(self) -> torch.nn.Module:
        """A fresh network from `[B, S]` to `[B, H]`; trained with whatever it is part of."""
        ...

    def numpy_form(self, network: torch.nn.Module) -> Callable[[Floats], Floats]:
        """The same function of one state, `[S]` to `[H]`, with copies of the weights."""
        ...


class RiskMeasure(Protocol):
    """What a distribution of returns is worth. Torch and numpy agree."""

    def of(self, quantiles: torch.Tensor) -> torch.Tensor:
        """`[..., K]` equally likely returns, in ascending order, to `[...]`."""
        ...

    def of_numpy(self, quantiles: Doubles) -> Doubles:
        """The same in numpy."""
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """Ids that are embedded: the first number of a represented action is one of `rows` positions, which
    a network replaces by `dim` learned numbers."""

    rows: int
    dim: int


@dataclass(frozen=True, slots=True)
class Box:
    """Continuous actions: `low` and `high`, `[D]` each, are the limits that every action keeps."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def dim(self) -> int:
        return len(self.low)


@dataclass(frozen=True, slots=True)
class ProblemSpec:
    """The sizes that every module is built for, and what all networks of a policy share.

    `state_dim`: S, length of the featurized observation, or of the whole window where there is a history.
    `action_dim`: D, length of one represented action. `max_actions`: the largest action set that the
    edge accepts. `summary`: how states are summarized; None if they are used as they are. `embedding`:
    None if actions are used as they are. `risk`: what learners of distributions maximize; None is the
    mean. `box`: None if actions come as sets.
    """

    state_dim: int
    action_dim: int
    max_actions: int
    summary: StateSummary | None = None
    embedding: Embedding | None = None
    risk: RiskMeasure | None = None
    box: Box | None = None


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
    `members`: `[A, K]` or None, K posterior samples of the values, each a whole opinion about all actions.
    """

    value: Final[Doubles]
    spread: Final[Doubles | None] = None
    members: Final[Doubles | None] = None


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


@dataclass(slots=True, eq=False)
class BoxDecision:
    """One choice among continuous actions. `action`: `[D]` float32 within the box. `density`: of that
    action under the distribution that it was drawn from, per unit of volume, from 1e-300 to 1e300; infinite
    where the action was not drawn. `mean`: `[D]`, the action without exploration."""

    action: Final[Floats]
    density: Final[float]
    mean: Final[Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """One finished step, ready to learn from.

    `state`: `[S]`. `action`: position in `actions`. `reward`, `cost`: finite floats. `next_state`:
    `[S]` or None when nothing follows. `next_actions`: the safe actions available next, or None.
    `terminated` stops bootstrapping, `truncated` does not. A bandit decision is `terminated`.
    `propensity`: probability in (0, 1] under the behaviour policy. `model_version`: 0 if the
    behaviour policy was not ours. `next_action`: position in `next_actions` of what was done next, None
    if unknown. `episode_id` and `step`: where in an episode it stands; "" and 0 outside of any.

    A continuous action is a set of one: `actions` holds the action that was taken as its only row, and
    `propensity` is a density, which may be above 1.
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
    next_action: int | None = None
    episode_id: str = ""
    step: int = 0


FACTS: Final = np.dtype(
    [
        ("reward", np.float64),
        ("cost", np.float64),
        ("propensity", np.float64),
        ("action", np.int64),
        ("next_action", np.int64),
        ("model_version", np.int64),
        ("step", np.int64),
        ("key", np.int64),
        ("episode", np.int64),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
        ("has_next", np.bool_),
    ],
    align=True,
)
"""What a block knows of each transition besides vectors, named as in `Transition`.

`next_action`: -1 if unknown. `key`: a hash of the decision id. `episode`: a hash of the episode id, 0 outside
of any. `has_next`: whether the next state is known.
"""


@dataclass(frozen=True, slots=True, eq=False)
class TransitionBlock:
    """T transitions as columns, in the order in which they came.

    `state`, `next_state`: `[T, S]` float32, zeros where nothing follows. `features`: `[N, D]` float32, the
    action sets one after the other: rows `offsets[2 t]:offsets[2 t + 1]` are the actions of transition t, rows
    `offsets[2 t + 1]:offsets[2 t + 2]` those available next, which may be none. `offsets`: `[2 T + 1]` int64;
    the first need not be 0. `facts`: `[T]` of `FACTS`.
    """

    state: Floats
    next_state: Floats
    features: Floats
    offsets: Integers
    facts: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def bootstraps(self) -> Mask:
        """`[T]`: whether the next state's value counts."""
        counts: Mask = self.facts["has_next"] & ~self.facts["terminated"]
        return counts


Transitions: TypeAlias = Sequence[Transition] | TransitionBlock
"""Transitions one by one, or in a block."""


@dataclass(frozen=True, slots=True, eq=False)
class RaggedActions:
    """The action sets of a batch as one flat table; no set is padded.

    `features`: `[N, D]` float32. `offsets`: `[B + 1]` int64; the set of row b is
    `features[offsets[b]:offsets[b + 1]]`, and may be empty. Rows from `offsets[B]` on are in no set: they fill a table
    up to a size, and count for nothing. `width`: how many actions each set has, where all are known to have as
    many; else None. `room`: how many rows the table of each part gets that the batch is split into, however many
    actions are in it, so that all shapes are known beforehand; None for as many as there are.
    """

    features: torch.Tensor
    offsets: torch.Tensor
    width: int | None = None
    room: int | None = None

    @property
    def count(self) -> int:
        """B."""
        return len(self.offsets) - 1

    def lengths(self) -> torch.Tensor:
        """`[B]` int64: how many actions each set has."""
        return self.offsets[1:] - self.offsets[:-1]

    def segments(self) -> torch.Tensor:
        """`[N]` int64: the batch row that each action belongs to. Rows in no set are taken to be with the last
        action that is in one, so that what is computed of them is as finite as that."""
        ends = self.offsets[1:]
        return self._ended_at(torch.where(ends < ends[-1:], ends, len(self.features)))

    def owners(self) -> torch.Tensor:
        """`[N]` int64: the same, but B for rows in no set."""
        return self._ended_at(self.offsets[1:])

    def _ended_at(self, ends: torch.Tensor) -> torch.Tensor:
        """`[N]`: how many of `ends` `[B]` are not after each row. Once compiled it takes a fifth of the time that a
        search, or repeating every row number, takes for 16,000 actions."""
        marks = ends.new_zeros(len(self.features) + 1)
        return marks.index_add(0, ends, torch.ones_like(ends)).cumsum(0)[:-1]

    def split(self, count: int) -> list[RaggedActions]:
        """`count` parts of as many sets each, one after the other; B is a multiple of `count`."""
        size = self.count // count
        starts = range(0, self.count, size)
        offsets = [self.offsets[start : start + size + 1] for start in starts]
        if self.room is not None:
            return [self._in_room(own, self.room) for own in offsets]
        if self.width is None:
            bounds = self.offsets[::size].tolist()
        else:
            bounds = [part * size * self.width for part in range(count + 1)]
        return [
            RaggedActions(self.features[start:end], own - start, self.width)
            for own, (start, end) in zip(offsets, pairwise(bounds), strict=True)
        ]

    def _in_room(self, offsets: torch.Tensor, room: int) -> RaggedActions:
        """The sets that `offsets` are of, in a table of `room` rows; behind them their last action is repeated."""
        rows = torch.arange(room, device=offsets.device) + offsets[:1]
        rows = rows.minimum(offsets[-1:] - 1).clamp(min=0)
        return RaggedActions(self.features.index_select(0, rows), offsets - offsets[:1], room=room)


@dataclass(frozen=True, slots=True, eq=False)
class TransitionBatch:
    """B transitions as tensors.

    `state`, `next_state`: `[B, S]` (zeros where nothing follows). `next_actions`: means nothing where
    `bootstraps` is 0. `action`: `[B]` int64, position in
    the row's set. `reward`, `cost`: `[B]`. `propensity`: `[B]`, float64 in a rollout, whose learner takes
    its logarithm. `bootstraps`: `[B]` float, 1 where the next
    state's value counts (not terminated and a next state is known), else 0; with n-step returns
    discount^(n - 1) in place of 1. `next_action`: `[B]` int64, position in the row's next set, -1 if
    unknown. `weight`: `[B]`, what each row counts in a loss; mean losses are weighted by it. `key`: `[B]`
    int64, a hash of the decision id, for whatever must be drawn once for each transition. `row`: `[B]`
    int64, where the replay keeps it.
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
    next_action: torch.Tensor
    weight: torch.Tensor
    key: torch.Tensor
    row: torch.Tensor

    def chosen_rows(self) -> torch.Tensor:
        """`[B]` int64: the row of `actions.features` that was taken."""
        return self.actions.offsets[:-1] + self.action

    def chosen_features(self) -> torch.Tensor:
        """`[B, D]`: the features of the actions that were taken."""
        if self.actions.width == 1:
            return self.actions.features
        return self.actions.features.index_select(0, self.chosen_rows())

    def split(self, count: int) -> list[TransitionBatch]:
        """`count` batches of equal size, one after the other; B is a multiple of `count`."""
        columns = [getattr(self, field.name) for field in fields(self)]
        parts = [
            c.split(count) if isinstance(c, RaggedActions) else c.chunk(count) for c in columns
        ]
        return [TransitionBatch(*one) for one in zip(*parts, strict=True)]

    def with_reward(self, reward: torch.Tensor) -> TransitionBatch:
        """The same batch with other rewards `[B]`."""
        return replace(self, reward=reward)


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """Whole episodes for on-policy learning, one after the other, each in the order of its steps.

    `batch`: all their N transitions. `offsets`: `[E + 1]` int64; episode e is rows
    `offsets[e]:offsets[e + 1]`. The last row of an episode bootstraps where it was cut, not ended.
    """

    batch: TransitionBatch
    offsets: torch.Tensor
