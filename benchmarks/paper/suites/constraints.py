"""Returns under a limit on what actions cost (Zhu et al. 2023, figure 6): reward constrained policy optimization.

The cost of a step is the squared norm of the action. A lower limit must give a lower cost.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.environments.wrappers import ChargesEnergy
from benchmarks.paper.results import Finding, Measured, mean, not_run, over_seeds
from benchmarks.paper.suite import Arm, Environment, Online, Request, Suite

TASKS: Final[dict[str, tuple[int, tuple[float, float]]]] = {
    "Pendulum-v1": (20_000, (0.25, 1.0)),
    "HalfCheetah-v5": (100_000, (0.5, 2.0)),
}
"""Environment steps, and limits on the cost of a step. Torques reach 2 and 1 on 1 and 6 joints: free play costs up to 4 and 6."""
_LEARNERS: Final = ("td3", "ddpg", "sac")
_DISCOUNT: Final = 0.99
_RATE: Final = 1e-3
"""Of the multiplier, for each unit of cost per step and update. The paper names none."""
_SLACK: Final = 1.25
"""A cost estimate is noisy: a quarter above the limit counts as kept."""


def arms(request: Request) -> list[Arm]:
    return [arm for task in TASKS for kind in _LEARNERS for arm in _of_learner(task, kind, request)]


def _of_learner(task: str, kind: str, request: Request) -> list[Arm]:
    steps, limits = TASKS[task]
    online = Online(partial(_environment, task), request.steps or steps, greedy=5)
    free = settings.continuous(_environment(task), kind)
    constrained = [
        Arm(_arm(task, kind, limit), free | {"safety": _safety(limit)}, online) for limit in limits
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
    return {
        _arm(task, kind, limit): _keeps(measured, task, kind, limit)
        for task, (_, limits) in TASKS.items()
        for kind in _LEARNERS
        for limit in limits
    }


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


SUITE: Final = Suite("constraints", "Constrained control", arms, judge)
