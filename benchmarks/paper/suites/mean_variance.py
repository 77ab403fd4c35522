"""A bandit whose better action is the riskier one (Zhu et al. 2023, figure 5c), and the same by CVaR.

The actions are N(6, 1) and N(10, 9): mean - b * variance prefers the careful one from b = 1/2 on. The mean of the
worst 2 % is 6 - 2.42 = 3.58 against 10 - 7.26 = 2.74 (2.42 = density of the normal at its 2 % point / 0.02).
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.paper import settings
from benchmarks.paper.environments.mean_variance_bandit import MEANS, MeanVarianceBandit
from benchmarks.paper.results import Finding, Measured, mean, not_run, standard_error
from benchmarks.paper.suite import Arm, Online, Request, Suite

STEPS: Final = 5_000
_GREEDY: Final = 500
_CAREFUL, _BOLD = MEANS
_ARMS: Final[dict[str, tuple[dict[str, Any] | None, int, float]]] = {
    "DQN": (None, 10, _BOLD),
    "beta 0": ({"kind": "mean_variance", "beta": 0.0}, 10, _BOLD),
    "beta 0.1": ({"kind": "mean_variance", "beta": 0.1}, 10, _BOLD),
    "beta 1": ({"kind": "mean_variance", "beta": 1.0}, 10, _CAREFUL),
    "CVaR of all": ({"kind": "cvar", "alpha": 1.0}, 50, _BOLD),
    "CVaR of the worst 2 %": ({"kind": "cvar", "alpha": 0.02}, 50, _CAREFUL),
}
"""Safety module, quantiles, and the mean reward of the action that should be chosen."""


def arms(request: Request) -> list[Arm]:
    online = Online(
        MeanVarianceBandit, request.steps or STEPS, 10, window=500, every=100, greedy=_GREEDY
    )
    return [Arm(name, _policy(*options[:2]), online) for name, options in _ARMS.items()]


def _policy(safety: dict[str, Any] | None, quantiles: int) -> dict[str, Any]:
    """B.4: 64 x 64 units, a learning rate of 5e-4."""
    rate = {"learning_rate": 5e-4}
    if safety is None:
        return settings.value_based(MeanVarianceBandit(), "dqn", **rate)
    learner = settings.value_based(MeanVarianceBandit(), "qr_dqn", quantiles=quantiles, **rate)
    return learner | {"safety": safety}


def judge(measured: Measured) -> dict[str, Finding]:
    return {f"{name} chooses as it should": _chooses(measured, name) for name in _ARMS}


def _chooses(measured: Measured, arm: str) -> Finding:
    expected = _ARMS[arm][2]
    reference = f"a mean reward of {expected:g} without exploration, in every seed"
    if not measured.has(arm):
        return not_run(reference)
    rewards = measured.number(arm, "greedy_return")
    found = {"reward": mean(rewards), "standard_error": standard_error(rewards)}
    return Finding(found, reference, all(abs(one - expected) < 1.0 for one in rewards))


SUITE: Final = Suite("mean_variance", "Mean-variance bandit", arms, judge)
