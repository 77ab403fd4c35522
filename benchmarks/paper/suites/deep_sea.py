"""Deep Sea: exploration that keeps to one opinion for an episode (Zhu et al. 2023, figure 5b).

Osband et al. 2016 give every opinion a prior that it never unlearns; without one, an ensemble soon agrees that there is no treasure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import ge, lt
from typing import Any, Final

from benchmarks.paper import settings
from benchmarks.paper.environments.deep_sea import OPTIMAL_RETURN, DeepSea
from benchmarks.paper.results import Finding, Measured, mean, not_run, over_seeds
from benchmarks.paper.suite import Arm, Online, Request, Suite

SIZES: Final = {10: 100_000, 20: 400_000}
"""Rows and columns, and environment steps; the paper takes 10 and 10^6."""
_SWAP_STEPS: Final = 10
_SHARE: Final = 0.5
_DEEP: Final[dict[str, Any]] = {"exploration": {"kind": "deep"}}


def arms(request: Request) -> list[Arm]:
    return [arm for size in SIZES for arm in _of_size(size, request)]


def _of_size(size: int, request: Request) -> list[Arm]:
    environment = partial(DeepSea, size)
    online = Online(environment, request.steps or SIZES[size], _SWAP_STEPS, greedy=1)
    greedy = settings.value_based(environment(), "dqn")
    deep = settings.value_based(environment(), "bootstrapped_dqn") | _DEEP
    return [
        Arm(_arm("epsilon-greedy", size), greedy, online),
        Arm(_arm("bootstrapped", size), deep, online),
    ]


def _arm(name: str, size: int) -> str:
    return f"{name} {size}x{size}"


def judge(measured: Measured) -> dict[str, Finding]:
    return {
        **{f"bootstrapped solves {size}x{size}": _solves(measured, size) for size in SIZES},
        **{f"epsilon-greedy fails at {size}x{size}": _fails(measured, size) for size in SIZES},
    }


def _solves(measured: Measured, size: int) -> Finding:
    source = "at least this share of the seeds plays the optimum without exploration"
    return _solved(measured, _arm("bootstrapped", size), source, ge)


def _fails(measured: Measured, size: int) -> Finding:
    source = "a smaller share of the seeds finds the treasure"
    return _solved(measured, _arm("epsilon-greedy", size), source, lt)


def _solved(
    measured: Measured, arm: str, source: str, is_met: Callable[[float, float], bool]
) -> Finding:
    if not measured.has(arm):
        return not_run(source)
    returns = measured.number(arm, "greedy_return")
    share = mean([float(one > OPTIMAL_RETURN - 1e-6) for one in returns])
    found = {"share_of_seeds": share} | over_seeds("return", returns)
    reference = {"share_of_seeds": _SHARE, "return": OPTIMAL_RETURN}
    return Finding(found, reference, source, is_met(share, _SHARE))


SUITE: Final = Suite("deep_sea", "Deep Sea", arms, judge)
