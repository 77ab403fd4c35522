"""CartPole and Acrobot that lose an action at every fourth step (Zhu et al. 2023, figure 7)."""

from __future__ import annotations

from functools import partial
from typing import Final

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.environments.wrappers import DeletesAction
from benchmarks.paper.results import Finding, Measured, mean, not_run, standard_error
from benchmarks.paper.suite import Arm, Environment, Online, Request, Suite

STEPS: Final = 100_000
_TASKS: Final = {"CartPole-v1": (1, 195.0), "Acrobot-v1": (2, -200.0)}
"""The action that is deleted, and the return from which on the task counts as learned: random play has about 20 and -500."""
_LEARNERS: Final = ("dqn", "discrete_sac", "ppo", "reinforce")


def arms(request: Request) -> list[Arm]:
    return [_arm(task, kind, request) for task in _TASKS for kind in _LEARNERS]


def _arm(task: str, kind: str, request: Request) -> Arm:
    made = _environment(task)
    agent = settings.value_based(made, kind) if kind == "dqn" else settings.policy_based(made, kind)
    online = Online(
        partial(_environment, task), request.steps or STEPS, 10 if kind == "dqn" else 1, greedy=10
    )
    return Arm(f"{task}: {kind}", agent, online)


def _environment(task: str) -> Environment:
    return DeletesAction(gymnasium.make(task), _TASKS[task][0])


def judge(measured: Measured) -> dict[str, Finding]:
    return {
        f"{task}: {kind} learns": _learns(measured, task, kind)
        for task in _TASKS
        for kind in _LEARNERS
    }


def _learns(measured: Measured, task: str, kind: str) -> Finding:
    goal = _TASKS[task][1]
    if not measured.has(f"{task}: {kind}"):
        return not_run(f"at least {goal:g}")
    returns = measured.last(f"{task}: {kind}")
    found = {
        "return": mean(returns),
        "standard_error": standard_error(returns),
        "greedy_return": mean(measured.number(f"{task}: {kind}", "greedy_return")),
    }
    return Finding(found, f"at least {goal:g}", found["return"] >= goal)


SUITE: Final = Suite("dynamic_actions", "Actions that come and go", arms, judge)
