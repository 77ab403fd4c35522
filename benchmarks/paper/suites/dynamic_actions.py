"""CartPole and Acrobot that lose an action at every fourth step (Zhu et al. 2023, figure 7).

The paper finds that all learn, except for REINFORCE, which falls behind. Discrete SAC has the paper's temperature, 0.1,
with DQN's learning rate and targets that follow as fast. On one seed, at the paper's rate of 1e-4 Acrobot was not learned in
40,000 steps, and with targets mixed by 0.01 only after 28,000. With gradients cut to a norm of 10 (at a temperature of
0.03) one seed of three stayed at -500: of hundreds of transitions one ends an episode.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.environments.wrappers import DeletesAction
from benchmarks.paper.results import Finding, Measured, mean, not_run, over_seeds
from benchmarks.paper.suite import Arm, Environment, Online, Request, Suite

STEPS: Final = 100_000
_TASKS: Final = {"CartPole-v1": (1, 195.0), "Acrobot-v1": (2, -200.0)}
"""The action that is deleted, and the return from which on the task counts as learned: random play has about 20 and -500."""
_LEARNERS: Final = ("dqn", "discrete_sac", "ppo")
_OWN: Final[dict[str, dict[str, Any]]] = {
    "discrete_sac": {
        "learning_rate": 1e-3,
        "target_mix": 0.1,
        "temperature_learning_rate": 0.0,
    }
}
_BEHIND: Final = "reinforce"


def arms(request: Request) -> list[Arm]:
    return [_arm(task, kind, request) for task in _TASKS for kind in (*_LEARNERS, _BEHIND)]


def _arm(task: str, kind: str, request: Request) -> Arm:
    made = _environment(task)
    build = settings.value_based if kind == "dqn" else settings.policy_based
    agent = build(made, kind, **_OWN.get(kind, {}))
    online = Online(
        partial(_environment, task), request.steps or STEPS, 10 if kind == "dqn" else 1, greedy=10
    )
    return Arm(f"{task}: {kind}", agent, online)


def _environment(task: str) -> Environment:
    return DeletesAction(gymnasium.make(task), _TASKS[task][0])


def judge(measured: Measured) -> dict[str, Finding]:
    learned = {
        f"{task}: {kind} learns": _learns(measured, task, kind)
        for task in _TASKS
        for kind in _LEARNERS
    }
    return learned | {
        f"{task}: {_BEHIND} falls behind": _falls_behind(measured, task) for task in _TASKS
    }


def _learns(measured: Measured, task: str, kind: str) -> Finding:
    arm, goal = f"{task}: {kind}", _TASKS[task][1]
    source = "at least this, where the task counts as learned"
    if not measured.has(arm):
        return not_run(source)
    greedy = {"greedy_return": mean(measured.number(arm, "greedy_return"))}
    found = over_seeds("return", measured.last(arm)) | greedy
    return Finding(found, {"return": goal}, source, found["return"] >= goal)


def _falls_behind(measured: Measured, task: str) -> Finding:
    arm, others = f"{task}: {_BEHIND}", [f"{task}: {kind}" for kind in _LEARNERS]
    source = "less than the mean of the other learners"
    if not measured.has(arm, *others):
        return not_run(source)
    found = over_seeds("return", measured.last(arm))
    reference = {"return": mean([value for other in others for value in measured.last(other)])}
    return Finding(found, reference, source, found["return"] < reference["return"])


SUITE: Final = Suite("dynamic_actions", "Actions that come and go", arms, judge)
