"""Continuous control (Zhu et al. 2023, figure 3, settings of appendix B.2.2), beside stable-baselines3.

Where stable-baselines3 is installed, its SAC, DDPG and TD3 play the same steps with the same networks, rates, batches
and replay; otherwise those arms say that it is missing. As there, one rate serves actor and critic, no gradient is
clipped, the temperature of SAC is tuned, and actions are uniform until learning begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.peers import Peer, peer_settings
from benchmarks.paper.results import Finding, Measured, is_no_worse, not_run, over_seeds
from benchmarks.paper.suite import Arm, Environment, Online, Request, Suite

STEPS: Final = 50_000
_TASKS: Final = ("HalfCheetah-v5", "Hopper-v5")
_LEARNERS: Final = ("sac", "ddpg", "td3")


def arms(request: Request) -> list[Arm]:
    return [arm for task in _TASKS for kind in _LEARNERS for arm in _pair(task, kind, request)]


def _pair(task: str, kind: str, request: Request) -> list[Arm]:
    steps, environment = request.steps or STEPS, partial(_environment, task)
    peer = peer_settings(kind)
    ours = Arm(
        f"{task}: {kind}", _agent(environment(), kind, peer), Online(environment, steps, greedy=10)
    )
    return [ours, Arm(_peer(task, kind), peer, Peer(environment, steps))]


def _agent(environment: Environment, kind: str, peer: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `peer` in our words."""
    agent = settings.continuous(environment, kind, learning_rate=peer["learning_rate"])
    uniform = {"kind": "warm_up", "transitions": peer["learning_starts"]}
    return agent | {"exploration": uniform | {"then": agent["exploration"]}}


def _environment(task: str) -> Environment:
    return gymnasium.make(task)


def _peer(task: str, kind: str) -> str:
    return f"{task}: {kind} of stable-baselines3"


def judge(measured: Measured) -> dict[str, Finding]:
    return {
        f"{task}: {kind} is no worse than its peer": _compared(measured, task, kind)
        for task in _TASKS
        for kind in _LEARNERS
    }


def _compared(measured: Measured, task: str, kind: str) -> Finding:
    ours, peer = f"{task}: {kind}", _peer(task, kind)
    source = "stable-baselines3 with the same settings, less two standard errors of the difference"
    if not measured.has(ours):
        return not_run(source)
    found = over_seeds("greedy_return", measured.number(ours, "greedy_return"))
    if not measured.has(peer):
        return Finding(found, {}, source, None)
    theirs = over_seeds("greedy_return", measured.number(peer, "greedy_return"))
    holds = is_no_worse(found, theirs, "greedy_return", errors=2.0)
    return Finding(found, theirs, source, holds)


SUITE: Final = Suite("control", "Continuous control", arms, judge)
