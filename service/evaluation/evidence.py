"""The second pass: what every estimator adds up to, and what bounds and pictures are made of.

`Plan` is what all shards share, `Evidence` the sums of one or of many; parts are merged in any order. Letters:
E units of a shard, R replicates, M constraints, K parts of the time, B bins of weights, J lengths of MAGIC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from agent_core.evaluation.betting import Tally
from agent_core.evaluation.bootstrap import poisson_counts, replicate_sums, uniforms
from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.magic import PartialSums, partial_values
from agent_core.evaluation.moments import Moments
from agent_core.evaluation.sequential import StepWeights, running_products, whole_products
from agent_core.evaluation.terms import Terms
from agent_core.types import Doubles, Integers, Mask
from service.evaluation.columns import Columns
from service.evaluation.estimators import (
    ESTIMATORS,
    Estimator,
    Family,
    Shard,
    near,
    weighted_products,
)
from service.evaluation.models import Models

PARTS: Final = 40
"""Of the time that a log spans."""
EDGES: Final[Doubles] = np.exp2(np.arange(-6.0, 11.0))
"""Of the bins of weights: from 1/64 to 1024."""
REPLICATES: Final = 400
"""The 1 % quantile of as many is the fourth smallest."""
_LENGTHS: Final = 24
"""Of MAGIC: any selection of lengths makes a blend, and its cost grows with their square."""

Line: TypeAlias = tuple[str, int]
"""An estimator and the position of its parameter."""


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """`sign` times the metric at `column` must be at most `limit`; `most`: the largest that it can be, which
    nobody declared if that `is_assumed`."""

    column: int
    sign: float
    limit: float
    most: float
    is_assumed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What the first pass found, as far as shards need it. `names`: of estimators, which are found again in
    every process.

    `least`: the smallest that a unit is worth. `selection`: the share of units that choices are made on.
    `bandwidth`: `[D]`, of the kernel behind weights and bounds. `lengths`: of MAGIC, empty without it.
    """

    names: tuple[str, ...]
    family: Family
    models: Models
    discount: float
    whole: StepWeights | None
    running: StepWeights | None
    episodes_per_step: float
    scale: Doubles
    bandwidth: Doubles
    least: float
    selection: float
    constraints: tuple[Constraint, ...]
    span_ms: tuple[int, int]
    lengths: Integers
    seed: int

    @property
    def estimators(self) -> tuple[Estimator, ...]:
        return tuple(ESTIMATORS[name] for name in self.names)


def lengths_of(longest: int) -> Integers:
    """`[J]`: from 0, the model alone, to all steps of the longest episode, at most 24 of them."""
    return np.unique(np.linspace(0, longest, min(longest + 1, _LENGTHS)).astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """`moments`: of every line. `weights`: of the ratios of units. `tallies`: of what units add to the value, less
    the least, in the selection and in the rest; `limits`: of what they leave to the most of each constraint,
    likewise. `metrics`: `[2, M, 2]`, sums of weight times metric, and units, of both parts. `replicates`: `[R, 4]`,
    of the first estimator. `times`: `[K, 5]`, units, weights, their squares, weight times worth, and worth.
    `histogram`: `[B + 1]`. `partial`, `partial_replicates`: of MAGIC.
    """

    moments: Mapping[Line, Moments]
    weights: WeightSums
    tallies: tuple[Tally, Tally]
    limits: tuple[tuple[Tally, Tally], ...]
    metrics: Doubles
    replicates: Mapping[Line, Doubles]
    times: Doubles
    histogram: Integers
    partial: PartialSums | None
    partial_replicates: Doubles | None

    @classmethod
    def of(cls, columns: Columns, plan: Plan) -> Evidence:
        shard = _shard(columns, plan)
        terms = {
            (one.name, i): one.terms(shard, parameter)
            for one in plan.estimators
            for i, parameter in enumerate(one.grid)
        }
        counts = poisson_counts(columns.unit, REPLICATES, plan.seed)
        weight, worth, added = _weighed(shard, plan)
        is_chosen_on = _is_chosen_on(columns, plan)
        constrained = _constrained(columns, plan, weight)
        partial = _partial(shard, plan)
        first = plan.names[0]
        return cls(
            moments={line: Moments.of(one) for line, one in terms.items()},
            weights=WeightSums.of(weight, _moments(columns, plan)),
            tallies=_split(added, is_chosen_on),
            limits=tuple(_split(left, is_chosen_on) for left, _ in constrained),
            metrics=_metric_sums([value for _, value in constrained], is_chosen_on),
            replicates={
                line: replicate_sums(one, counts) for line, one in terms.items() if line[0] == first
            },
            times=_times(columns, plan, weight, worth),
            histogram=_histogram(weight),
            partial=None if partial is None else PartialSums.of(partial),
            partial_replicates=None if partial is None else _last_sums(partial, counts),
        )

    def merged(self, other: Evidence) -> Evidence:
        both = zip(self.limits, other.limits, strict=True)
        return Evidence(
            {line: one.merged(other.moments[line]) for line, one in self.moments.items()},
            self.weights.merged(other.weights),
            _merged(self.tallies, other.tallies),
            tuple(_merged(*pair) for pair in both),
            self.metrics + other.metrics,
            {line: one + other.replicates[line] for line, one in self.replicates.items()},
            self.times + other.times,
            self.histogram + other.histogram,
            None if self.partial is None or other.partial is None else self.partial.merged(other.partial),
            None if self.partial_replicates is None or other.partial_replicates is None
            else self.partial_replicates + other.partial_replicates,
        )  # fmt: skip


def _merged(one: tuple[Tally, Tally], other: tuple[Tally, Tally]) -> tuple[Tally, Tally]:
    return one[0].merged(other[0]), one[1].merged(other[1])


def _shard(columns: Columns, plan: Plan) -> Shard:
    return Shard(
        columns,
        plan.models.of(columns),
        plan.models.visits,
        plan.discount,
        plan.whole,
        plan.running,
        plan.episodes_per_step,
        plan.scale,
    )


def _weighed(shard: Shard, plan: Plan) -> tuple[Doubles, Doubles, Doubles]:
    """`[E]` each: the weight of every unit, what it is worth, and what it adds to the value less the least,
    which is never negative."""
    columns = shard.columns
    worth = columns.totals(columns.reward, plan.discount)
    if plan.family == "kernels":
        weight = near(columns, plan.bandwidth)
    elif plan.family == "decisions":
        weight = columns.ratio
    else:
        weight = whole_products(columns.ratio, columns.offsets)[columns.offsets[1:] - 1]
    if plan.family == "episodes" and plan.least == 0.0:
        # Steps that come before a large ratio need not be multiplied with it.
        running = running_products(columns.ratio, columns.offsets)
        return weight, worth, columns.totals(running * columns.reward, plan.discount)
    return weight, worth, weight * np.maximum(worth - plan.least, 0.0)


def _moments(columns: Columns, plan: Plan) -> Doubles | None:
    """`[E, 2]`: what the weights of decisions should be; None where that is not known."""
    is_known = plan.family == "decisions" and not np.isnan(columns.moments).any()
    return columns.moments if is_known else None


def _is_chosen_on(columns: Columns, plan: Plan) -> Mask:
    """`[E]`: whether choices may be made on a unit, by the hash of its name and the seed."""
    # Another seed than that of the replicates: what is chosen on must not depend on what they count.
    is_in: Mask = uniforms(columns.unit, 1, plan.seed + 1)[0] < plan.selection
    return is_in


def _constrained(columns: Columns, plan: Plan, weight: Doubles) -> list[tuple[Doubles, Doubles]]:
    """Of each constraint `[E]`: what is left to the most, and the metric, times the weight."""
    totals = columns.totals(columns.metrics, plan.discount)
    return [
        (
            weight * np.maximum(one.most - one.sign * totals[:, one.column], 0.0),
            weight * one.sign * totals[:, one.column],
        )
        for one in plan.constraints
    ]


def _split(added: Doubles, is_chosen_on: Mask) -> tuple[Tally, Tally]:
    return Tally.of(added[is_chosen_on]), Tally.of(added[~is_chosen_on])


def _metric_sums(values: Sequence[Doubles], is_chosen_on: Mask) -> Doubles:
    parts = (is_chosen_on, ~is_chosen_on)
    sums = [[[value[part].sum(), part.sum()] for value in values] for part in parts]
    return np.array(sums, np.float64).reshape(2, len(values), 2)


def _times(columns: Columns, plan: Plan, weight: Doubles, worth: Doubles) -> Doubles:
    begin, end = plan.span_ms
    part = (columns.at_ms - begin) * PARTS // (end - begin + 1)
    sums = np.zeros((PARTS, 5))
    ones = np.ones_like(weight)
    np.add.at(sums, part, np.stack([ones, weight, weight**2, weight * worth, worth], 1))
    return sums


def _histogram(weight: Doubles) -> Integers:
    places = np.searchsorted(EDGES, weight, "right") + 1
    places[weight == 0] = 0
    return np.bincount(places, minlength=len(EDGES) + 2)


def _partial(shard: Shard, plan: Plan) -> Doubles | None:
    """`[E, J]`: see `magic.partial_values`; an episode that is over stays as it is."""
    if not len(plan.lengths):
        return None
    columns = shard.columns
    values = partial_values(
        columns.reward,
        weighted_products(shard),
        *shard.said["steps"],
        columns.offsets,
        plan.discount,
    )
    return values[:, np.minimum(plan.lengths, values.shape[1] - 1)]


def _last_sums(partial: Doubles, counts: Integers) -> Doubles:
    """`[R, 4]`: as `replicate_sums` of the longest partial values alone."""
    last, ones = partial[:, -1], np.ones(len(partial))
    return replicate_sums(Terms(np.zeros_like(last), last, ones), counts)
