"""The first pass over a log: the target answers, columns are written aside, and sums of the whole are known.

Parts are merged in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent_core.errors import AgentCoreError
from agent_core.evaluation.moments import Moments
from agent_core.evaluation.sequential import StepWeights, running_products, whole_products
from agent_core.evaluation.terms import Terms
from agent_core.types import Doubles
from service.evaluation.batches import Batch, Refusals
from service.evaluation.columns import Columns, described
from service.evaluation.models import ModelSums
from service.evaluation.steps import LoggedStep
from service.evaluation.targets import Target


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """The smallest and the largest of some columns: `[M]` each."""

    low: Doubles
    high: Doubles

    @classmethod
    def of(cls, values: Doubles) -> Range:
        """`values`: `[E, M]`."""
        return cls(values.min(0), values.max(0))

    def merged(self, other: Range) -> Range:
        return Range(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """`decisions`: how many. `returns`: of units, what the log earned, as corrections of weight 1. `span_ms`:
    when units began. `reward`, `metrics`: of single rewards, and of metrics of whole units. `longest`: steps of
    the longest unit. `whole`, `running`: weights of steps; None is not asked for. `done`: moments of what
    was done, `[3, D]`: how many, sums and squares. `unknown`: decisions of which not all probabilities are known.
    `components`: names of the parts that rewards have.
    """

    decisions: int
    returns: Moments
    total: Range
    reward: Range
    metrics: Range
    span_ms: tuple[int, int]
    longest: int
    whole: StepWeights | None
    running: StepWeights | None
    done: Doubles
    unknown: int
    components: frozenset[str]
    models: ModelSums

    @classmethod
    def of(
        cls, columns: Columns, components: frozenset[str], needs: frozenset[str], discount: float
    ) -> Overview:
        total = columns.totals(columns.reward, discount)
        zeros, ones = np.zeros_like(total), np.ones_like(total)
        offsets, weighs = columns.offsets, "weights" in needs
        action = columns.action
        return cls(
            decisions=len(columns.reward),
            returns=Moments.of(Terms(zeros, total, ones)),
            total=Range.of(total[:, None]),
            reward=Range.of(columns.reward[:, None]),
            metrics=Range.of(columns.totals(columns.metrics, discount)),
            span_ms=(int(columns.at_ms.min()), int(columns.at_ms.max())),
            longest=int(np.diff(offsets).max()),
            whole=StepWeights.of(whole_products(columns.ratio, offsets), offsets) if weighs else None,
            running=StepWeights.of(running_products(columns.ratio, offsets), offsets) if weighs else None,
            done=np.stack([np.ones_like(action), action, action**2]).sum(1),
            unknown=int(np.isnan(columns.alike[:, :1]).sum()),
            components=components,
            models=ModelSums.of(columns, needs),
        )  # fmt: skip

    def merged(self, other: Overview) -> Overview:
        spans = (*self.span_ms, *other.span_ms)
        return Overview(
            self.decisions + other.decisions,
            self.returns.merged(other.returns),
            self.total.merged(other.total),
            self.reward.merged(other.reward),
            self.metrics.merged(other.metrics),
            (min(spans), max(spans)),
            max(self.longest, other.longest),
            _both(self.whole, other.whole),
            _both(self.running, other.running),
            self.done + other.done,
            self.unknown + other.unknown,
            self.components | other.components,
            self.models.merged(other.models),
        )

    @property
    def scale(self) -> Doubles:
        """`[D]`: standard deviations of the continuous actions that were done."""
        count, total, squares = self.done
        deviation: Doubles = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0))
        return np.where(deviation > 0, deviation, 1.0)


def _both(one: StepWeights | None, other: StepWeights | None) -> StepWeights | None:
    return None if one is None or other is None else one.merged(other)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What the first pass made of one batch; `columns` is None if nothing of it can be used."""

    columns: Columns | None
    overview: Overview | None
    refusals: Refusals
    read: int


def survey(
    batch: Batch, target: Target, metrics: tuple[str, ...], needs: frozenset[str], discount: float
) -> Surveyed:
    """Asks the target what it would have done. A unit in which it cannot say is left out as a whole."""
    refusals = Refusals()
    units, answers = list[list[LoggedStep]](), list[list[Doubles]]()
    for unit in batch.units:
        found = _answers(unit, target, refusals)
        if found is not None:
            units.append(unit)
            answers.append(found)
    if not units:
        return Surveyed(None, None, refusals, batch.read)
    columns = described(units, answers, metrics, needs_likeness="likeness" in needs)
    components = frozenset(name for unit in units for step in unit for name in step.components)
    overview = Overview.of(columns, components, needs, discount)
    return Surveyed(columns, overview, refusals, batch.read)


def _answers(unit: list[LoggedStep], target: Target, refusals: Refusals) -> list[Doubles] | None:
    answers = []
    for step in unit:
        try:
            answers.append(target.answer(step))
        except (AgentCoreError, ValueError) as error:
            refusals.add(step.row, str(error), "target_cannot_say", len(unit))
            return None
    return answers
