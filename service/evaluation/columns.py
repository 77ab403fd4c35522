"""A part of a log as columns of numbers, with all that estimators need and no more.

    steps with the target's answers -> Columns -> a file of the spool -> Columns, in every later pass

Letters: T decisions, E units (episodes, or decisions where there are none), M metrics, P and Q numbers of a state
and an action (see `sketches`), D dimensions of a continuous action, 0 for sets, L levels of likeness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np

from agent_core.evaluation.diagnostics import weight_moments
from agent_core.evaluation.logged import segment_sum
from agent_core.evaluation.sequential import steps as places
from agent_core.functional.blocks import ends
from agent_core.functional.keys import key_of
from agent_core.types import Doubles, Integers, Mask
from service.evaluation.likeness import marginal_ratios
from service.evaluation.sketches import action_sketch, continuous_sketch, state_sketches
from service.evaluation.steps import LoggedStep
from service.evaluation.targets import is_continuous


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """`unit`: `[E]`, a hash of the name of each; `at_ms`: `[E]`, when it began. `offsets`: `[E + 1]`; unit e is
    rows `offsets[e]:offsets[e + 1]`. `goes_on`: `[E]`, whether it was cut off rather than ended.

    `reward`, `propensity`: `[T]`. `ratio`: `[T]`, how much likelier the target was to do what was done; for
    continuous actions NaN. `moments`: `[T, 2]`, of the ratio, NaN where the log does not tell how likely all
    actions were. `alike`: `[T, L]`, the same for actions that are like it; NaN where that is not
    known, and L is 0 where nobody asks. `metrics`: `[T, M]`. `state`: `[T, P]`. `taken`: `[T, Q]`, of the action that was taken. `expected`:
    `[T, Q]`, the mean under the target. `action`, `wanted`: `[T, D]`, what was done and what the target does.
    """

    unit: Integers
    at_ms: Integers
    offsets: Integers
    goes_on: Mask
    reward: Doubles
    propensity: Doubles
    ratio: Doubles
    moments: Doubles
    alike: Doubles
    metrics: Doubles
    state: Doubles
    taken: Doubles
    expected: Doubles
    action: Doubles
    wanted: Doubles

    def totals(self, values: Doubles, discount: float) -> Doubles:
        """`[E]` or `[E, M]`: discounted sums of `values` `[T]` or `[T, M]` over each unit."""
        faded = discount ** places(self.offsets)
        return segment_sum((faded * values.T).T, self.offsets)

    def save(self, path: Path) -> None:
        np.savez(path, **{one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Columns:
        with np.load(path, allow_pickle=False) as stored:
            return cls(**stored)


_COST: Final = "cost"
_REWARD: Final = "reward"
_NOTHING: Final[Doubles] = np.zeros(0)


def described(
    units: Sequence[Sequence[LoggedStep]],
    answers: Sequence[Sequence[Doubles]],
    metrics: Sequence[str],
    *,
    needs_likeness: bool,
) -> Columns:
    """Columns of at least one unit.

    `answers`: of the target, as `Target.answer` gives them. `metrics`: names of parts of rewards, or `cost`,
    or `reward`; a part that a step lacks is 0. `needs_likeness`: whether `alike` is asked for.
    """
    steps = [step for unit in units for step in unit]
    flat = [answer for unit in answers for answer in unit]
    sketches = [_sketches(*pair) for pair in zip(steps, flat, strict=True)]
    is_box = is_continuous(steps[0])
    return Columns(
        unit=np.array([key_of(_name(unit)) for unit in units], np.int64),
        at_ms=np.array([unit[0].at_ms for unit in units], np.int64),
        offsets=ends(np.array([len(unit) for unit in units])),
        goes_on=np.array([not unit[-1].is_terminated for unit in units], bool),
        reward=np.array([step.reward for step in steps], np.float64),
        propensity=np.array([step.propensity for step in steps], np.float64),
        ratio=np.array([_ratio(*pair) for pair in zip(steps, flat, strict=True)]),
        moments=np.array([_moments(*pair) for pair in zip(steps, flat, strict=True)], np.float64),
        alike=np.array([marginal_ratios(*pair) for pair in zip(steps, flat, strict=True)])
        if needs_likeness
        else np.zeros((len(steps), 0)),
        metrics=np.array([[_metric(step, name) for name in metrics] for step in steps], np.float64),
        state=state_sketches(np.array([step.state for step in steps], np.float64)),
        taken=np.array([taken for taken, _ in sketches]),
        expected=np.array([expected for _, expected in sketches]),
        action=np.array([_done(step) for step in steps]),
        wanted=np.array(flat) if is_box else np.zeros((len(steps), 0)),
    )


def _name(unit: Sequence[LoggedStep]) -> str:
    first = unit[0]
    return first.decision_id if first.place is None else first.place.episode_id


def _metric(step: LoggedStep, name: str) -> float:
    if name == _COST:
        return step.cost
    return step.reward if name == _REWARD else step.components.get(name, 0.0)


def _ratio(step: LoggedStep, answer: Doubles) -> float:
    return np.nan if is_continuous(step) else float(answer[step.action] / step.propensity)


def _moments(step: LoggedStep, answer: Doubles) -> tuple[float, float]:
    if step.behaviour is None or is_continuous(step):
        return np.nan, np.nan
    return weight_moments(answer, step.behaviour)


def _sketches(step: LoggedStep, answer: Doubles) -> tuple[Doubles, Doubles]:
    """`taken` and `expected` of one step."""
    if is_continuous(step):
        return continuous_sketch(_done(step)), continuous_sketch(answer)
    sketch = action_sketch(step.actions)
    return sketch[step.action], answer @ sketch


def _done(step: LoggedStep) -> Doubles:
    """`[D]`: the continuous action that was taken; empty for one out of a set."""
    if not is_continuous(step):
        return _NOTHING
    action: Doubles = step.actions.features[0].astype(np.float64)
    return action
