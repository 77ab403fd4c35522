"""A bandit whose better action is the riskier one (Zhu et al. 2023, figure 5c), and the same by CVaR.

The actions are N(6, 1) and N(10, 9): mean - b * variance prefers the careful one from b = 1/2 on. The mean of the
worst 2 % is 6 - 2.42 = 3.58 against 10 - 7.26 = 2.74 (2.42 = density of the normal at its 2 % point / 0.02).
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.paper import settings
from benchmarks.paper.environments.mean_variance_bandit import MEANS, MeanVarianceBandit
from benchmarks.paper.results import Finding, Measured, not_run, over_seeds
from benchmarks.paper.suite import Arm, Online, Request, Suite

STEPS: Final = 5_000
_TAIL_STEPS: Final = 10_000
_TAIL_EPSILON: Final = 0.5
"""The worst 2 % of an action are known once it was played often, the one that looks worse included."""
_GREEDY: Final = 500
_CAREFUL, _BOLD = MEANS
_EXPECTED: Final = {
    "DQN": _BOLD,
    "beta 0": _BOLD,
    "beta 0.1": _BOLD,
    "beta 1": _CAREFUL,
    "CVaR of all": _BOLD,
    "CVaR of the worst 2 %": _CAREFUL,
}
"""The mean reward of the action that should be chosen."""


def arms(request: Request) -> list[Arm]:
    bandit, rate = MeanVarianceBandit(), {"learning_rate": 5e-4}
    online = _online(request.steps or STEPS)
    dqn = settings.value_based(bandit, "dqn", **rate)
    quantile = settings.value_based(bandit, "qr_dqn", quantiles=10, **rate)
    risks = {f"beta {beta:g}": {"kind": "mean_variance", "beta": beta} for beta in (0.0, 0.1, 1.0)}
    averse = [Arm(name, quantile | {"safety": one}, online) for name, one in risks.items()]
    return [Arm("DQN", dqn, online), *averse, *_tails(request)]


def _tails(request: Request) -> list[Arm]:
    online = _online(request.steps or _TAIL_STEPS)
    exploration = {"kind": "epsilon_greedy", "epsilon": _TAIL_EPSILON}
    learner = settings.value_based(MeanVarianceBandit(), "qr_dqn", quantiles=50, learning_rate=5e-4)
    shares = {"CVaR of all": 1.0, "CVaR of the worst 2 %": 0.02}
    return [
        Arm(name, learner | {"exploration": exploration, "safety": _cvar(alpha)}, online)
        for name, alpha in shares.items()
    ]


def _cvar(alpha: float) -> dict[str, Any]:
    return {"kind": "cvar", "alpha": alpha}


def _online(steps: int) -> Online:
    return Online(MeanVarianceBandit, steps, 10, window=500, every=100, greedy=_GREEDY)


def judge(measured: Measured) -> dict[str, Finding]:
    return {f"{name} chooses as it should": _chooses(measured, name) for name in _EXPECTED}


def _chooses(measured: Measured, arm: str) -> Finding:
    expected = _EXPECTED[arm]
    source = "what the right action pays; within 1 of it in every seed, without exploration"
    if not measured.has(arm):
        return not_run(source)
    rewards = measured.number(arm, "greedy_return")
    holds = all(abs(one - expected) < 1.0 for one in rewards)
    return Finding(over_seeds("reward", rewards), {"reward": expected}, source, holds)


SUITE: Final = Suite("mean_variance", "Mean-variance bandit", arms, judge)
