"""CartPole without velocities, seen at every second step only (Zhu et al. 2023, figure 5a).

DQN alone fails; with a history of four steps it learns. B.4 has an LSTM of two layers of 128 units; ours has one.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.paper import settings
from benchmarks.paper.environments.partial_cartpole import PartialCartPole
from benchmarks.paper.results import Finding, Measured, not_run, over_seeds
from benchmarks.paper.suite import Arm, Online, Request, Suite

STEPS: Final = 100_000
_SWAP_STEPS: Final = 10
_WINDOW: Final = 4
_HISTORIES: Final[dict[str, dict[str, Any]]] = {
    "no history": {"kind": "none"},
    "LSTM": {"kind": "lstm", "window": _WINDOW, "hidden_dim": 128},
    "GRU": {"kind": "gru", "window": _WINDOW, "hidden_dim": 128},
    "transformer": {"kind": "transformer", "window": _WINDOW, "width": 128},
}
_FACTOR: Final = 2.0
"""A history pays when the return is at least twice what it is without."""


def arms(request: Request) -> list[Arm]:
    base = settings.value_based(PartialCartPole(), "dqn")
    online = Online(PartialCartPole, request.steps or STEPS, _SWAP_STEPS, greedy=10)
    return [Arm(name, base | {"history": one}, online) for name, one in _HISTORIES.items()]


def judge(measured: Measured) -> dict[str, Finding]:
    names = [name for name in _HISTORIES if name != "no history"]
    return {f"{name} pays": _pays(measured, name) for name in names}


def _pays(measured: Measured, arm: str) -> Finding:
    source = f"at least {_FACTOR:g} times the return of DQN without a history"
    if not measured.has(arm, "no history"):
        return not_run(source)
    found = over_seeds("return", measured.last(arm))
    without = over_seeds("return", measured.last("no history"))
    return Finding(found, without, source, found["return"] >= _FACTOR * without["return"])


SUITE: Final = Suite("partial_cartpole", "Partially observed CartPole", arms, judge)
