"""Returns under a limit on what actions cost (Zhu et al. 2023, figure 6): reward constrained policy optimization.

The cost of a step is the squared norm of the action. A limit must be kept, and a lower one must give a lower cost.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.environments.wrappers import ChargesEnergy
from benchmarks.paper.results import Finding, Measured, mean, not_run, over_seeds
from benchmarks.paper.suite import Arm, Environment, Online, Request, Suite


class Task(NamedTuple):
    """`limits`: on the cost of a step, the highest first."""

    steps: int
    learners: tuple[str, ...]
    limits: tuple[float, ...]


TASKS: Final = {
    "Pendulum-v1": Task(20_000, ("ddpg",), (1.0, 0.5, 0.25)),
    "HalfCheetah-v5": Task(50_000, ("td3", "sac"), (2.0, 1.0, 0.5)),
}
"""Torques reach 2 and 1 on 1 and 6 joints: free play costs up to 4 and 6."""
_DISCOUNT: Final = 0.99
_RATE: Final = 1e-3
"""Of the multiplier, for each unit of cost per step and update. The paper names none."""
_SLACK: Final = 1.25
"""A cost estimate is noisy: a quarter above the limit counts as kept."""


def arms(request: Request) -> list[Arm]:
    return [arm for task, kind in _pairs() for arm in _of_learner(task, kind, request)]


def _pairs() -> list[tuple[str, str]]:
    return [(name, kind) for name, task in TASKS.items() for kind in task.learners]


def _of_learner(task: str, kind: str, request: Request) -> list[Arm]:
    steps = request.steps or TASKS[task].steps
    online = Online(partial(_environment, task), steps, greedy=5)
    free = settings.continuous(_environment(task), kind)
    constrained = [
        Arm(_arm(task, kind, limit), free | {"safety": _safety(limit)}, online)
        for limit in TASKS[task].limits
    ]
    return [Arm(_arm(task, kind, None), free, online), *constrained]


def _environment(task: str) -> Environment:
    return ChargesEnergy(gymnasium.make(task))


def _safety(limit: float) -> dict[str, Any]:
    """The paper limits (1 - discount) times the discounted sum; the module limits the sum itself."""
    share = 1 - _DISCOUNT
    return {
        "kind": "reward_constrained",
        "cost_limit": limit / share,
        "discount": _DISCOUNT,
        "multiplier_rate": _RATE * share,
    }


def _arm(task: str, kind: str, limit: float | None) -> str:
    return f"{task}: {kind}" if limit is None else f"{task}: {kind}, cost at most {limit:g}"


def judge(measured: Measured) -> dict[str, Finding]:
    kept = {
        _arm(task, kind, limit): _keeps(measured, task, kind, limit)
        for task, kind in _pairs()
        for limit in TASKS[task].limits
    }
    falls = {
        f"{task}: {kind}, the cost falls with the limit": _falls(measured, task, kind)
        for task, kind in _pairs()
    }
    return kept | falls


def _keeps(measured: Measured, task: str, kind: str, limit: float) -> Finding:
    arm, free = _arm(task, kind, limit), _arm(task, kind, None)
    source = f"at most {_SLACK:g} times the limit, over the last 5,000 steps"
    if not measured.has(arm, free):
        return not_run(source)
    found = over_seeds("cost_per_step", measured.number(arm, "cost_per_step")) | {
        "return": mean(measured.last(arm)),
        "free_cost_per_step": mean(measured.number(free, "cost_per_step")),
        "free_return": mean(measured.last(free)),
    }
    holds = found["cost_per_step"] <= _SLACK * limit
    return Finding(found, {"cost_per_step": limit}, source, holds)


def _falls(measured: Measured, task: str, kind: str) -> Finding:
    """From free play over every limit, the highest first."""
    arms = {limit: _arm(task, kind, limit) for limit in (None, *TASKS[task].limits)}
    source = "the cost per step under the next higher limit"
    if not measured.has(*arms.values()):
        return not_run(source)
    costs = [mean(measured.number(arm, "cost_per_step")) for arm in arms.values()]
    names = [f"limit {limit:g}" for limit in TASKS[task].limits]
    found, higher = dict(zip(names, costs[1:], strict=True)), dict(zip(names, costs, strict=False))
    return Finding(found, higher, source, all(found[name] < higher[name] for name in names))


SUITE: Final = Suite("constraints", "Constrained control", arms, judge)
