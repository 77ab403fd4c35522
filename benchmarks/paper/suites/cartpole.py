"""CartPole-v1 by discrete control (Zhu et al. 2023, figure 2, settings of appendix B.2.1)."""

from __future__ import annotations

from typing import Final

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.results import Finding, Measured, not_run, over_seeds
from benchmarks.paper.suite import Arm, Online, Request, Suite

STEPS: Final = 30_000
PEARL_DQN: Final = {
    10_000: (269, 272, 322, 213, 249),
    20_000: (490, 356, 451, 388, 344),
    30_000: (500, 397, 478, 224, 414),
}
"""Returns of Pearl 48f1fbb with the same settings, seeds 0 to 4, measured by running it."""
_SWAP_STEPS: Final = 10
"""The served network is the target network, which moves every 10 updates."""
_SHORT: Final = {"kind": "fifo", "capacity": 2_000}
"""SARSA values the policy that chose the next actions in its replay. With the paper's 50,000 transitions these are
those of all past policies; chosen after that was seen."""
_POLICY_STEPS: Final = 100_000
"""At a learning rate of 1e-4, policies learn slowly."""


def arms(request: Request) -> list[Arm]:
    return [*_value_based(request), *_policy_based(request)]


def _value_based(request: Request) -> list[Arm]:
    cartpole = gymnasium.make("CartPole-v1")
    online = Online(_environment, request.steps or STEPS, _SWAP_STEPS, greedy=10)
    deep = {"exploration": {"kind": "deep"}}
    value_based = settings.value_based
    sarsa = value_based(cartpole, "deep_sarsa", target_mix=0.1)
    return [
        Arm("DQN", value_based(cartpole, "dqn"), online),
        Arm("double DQN", value_based(cartpole, "dqn", double=True), online),
        Arm("dueling DQN", value_based(cartpole, "dqn", dueling=True), online),
        Arm("SARSA", sarsa, online),
        Arm("SARSA, replay of 2,000", sarsa | {"replay": _SHORT}, online),
        Arm("bootstrapped DQN", value_based(cartpole, "bootstrapped_dqn") | deep, online),
    ]


def _policy_based(request: Request) -> list[Arm]:
    cartpole = gymnasium.make("CartPole-v1")
    online = Online(_environment, request.steps or _POLICY_STEPS, greedy=10)
    return [
        Arm(name, settings.policy_based(cartpole, kind, **own), online)
        for name, kind, own in (
            ("REINFORCE", "reinforce", {}),
            ("PPO", "ppo", {}),
            ("discrete SAC", "discrete_sac", {"max_gradient_norm": 10.0}),
        )
    ]


def _environment() -> gymnasium.Env[object, object]:
    return gymnasium.make("CartPole-v1")


def judge(measured: Measured) -> dict[str, Finding]:
    return {
        **{f"DQN at {mark} steps": _against_pearl(measured, mark) for mark in PEARL_DQN},
        **{f"{arm} learns": _learns(measured, arm) for arm in measured.arms},
    }


def _against_pearl(measured: Measured, mark: int) -> Finding:
    source = "at least the mean of Pearl's DQN (48f1fbb), seeds 0 to 4"
    if not measured.has("DQN"):
        return not_run(source)
    found = over_seeds("return", measured.at("DQN", mark))
    pearl = over_seeds("return", PEARL_DQN[mark])
    return Finding(found, pearl, source, found["return"] >= pearl["return"])


def _learns(measured: Measured, arm: str) -> Finding:
    found = over_seeds("greedy_return", measured.number(arm, "greedy_return"))
    source = "at least this, where the task counts as solved"
    return Finding(found, {"greedy_return": _GOAL}, source, found["greedy_return"] >= _GOAL)


_GOAL: Final = 195.0

SUITE: Final = Suite("cartpole", "CartPole-v1", arms, judge)
