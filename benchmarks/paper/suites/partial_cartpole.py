"""CartPole without velocities, seen at every second step only (Zhu et al. 2023, figure 5a).

DQN alone fails; with a history of four steps it learns to keep the pole up for a whole episode. Copied targets make
DQN waver once it has learned, as on the whole CartPole, so it is looked at without exploration every 5,000 steps: the
claim is about the best of these looks, and what it plays at the end stands beside it. B.4 has an LSTM of two layers of
128 units; ours has one. The transformer has a head for each step of the window, and sinusoids for their ages: with two heads
and learned ages it had reached 260 after 50,000 steps, with four heads 500 in two of three seeds.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.paper import settings
from benchmarks.paper.environments.partial_cartpole import PartialCartPole
from benchmarks.paper.results import Finding, Measured, mean, not_run, over_seeds
from benchmarks.paper.suite import Arm, Online, Request, Suite

STEPS: Final = 50_000
_LOOK_STEPS: Final = 5_000
_SWAP_STEPS: Final = 10
_WINDOW: Final = 4
_NONE: Final = "no history"
_HISTORIES: Final[dict[str, dict[str, Any]]] = {
    _NONE: {"kind": "none"},
    "LSTM": {"kind": "lstm", "window": _WINDOW, "hidden_dim": 128},
    "GRU": {"kind": "gru", "window": _WINDOW, "hidden_dim": 128},
    "transformer": {
        "kind": "transformer",
        "window": _WINDOW,
        "width": 128,
        "heads": _WINDOW,
        "positions": "sinusoidal",
    },
}
_WHOLE: Final = 500.0
"""The return of an episode that lasts to its end."""
_FAILS: Final = 50.0
"""Random play has about 20."""


def arms(request: Request) -> list[Arm]:
    base = settings.value_based(PartialCartPole(), "dqn")
    base["schedule"] = base["schedule"] | settings.FASTER
    online = Online(
        PartialCartPole,
        request.steps or STEPS,
        _SWAP_STEPS,
        greedy=10,
        greedy_every=_LOOK_STEPS,
    )
    return [Arm(name, base | {"history": one}, online) for name, one in _HISTORIES.items()]


def judge(measured: Measured) -> dict[str, Finding]:
    reached = {
        f"{name} reaches 500": _reaches(measured, name) for name in _HISTORIES if name != _NONE
    }
    return reached | {"DQN without a history fails": _fails(measured)}


def _reaches(measured: Measured, arm: str) -> Finding:
    source = (
        f"the best of the looks, every {_LOOK_STEPS:,} steps, at ten episodes without exploration"
    )
    if not measured.has(arm):
        return not_run(source)
    highest = over_seeds("highest_greedy_return", measured.number(arm, "highest_greedy_return"))
    at_the_end = {
        "greedy_return": mean(measured.number(arm, "greedy_return")),
        "return": mean(measured.last(arm)),
    }
    holds = highest["highest_greedy_return"] >= _WHOLE
    return Finding(highest | at_the_end, {"highest_greedy_return": _WHOLE}, source, holds)


def _fails(measured: Measured) -> Finding:
    source = "less than this, at the best of the looks"
    if not measured.has(_NONE):
        return not_run(source)
    found = over_seeds("highest_greedy_return", measured.number(_NONE, "highest_greedy_return"))
    holds = found["highest_greedy_return"] < _FAILS
    return Finding(found, {"highest_greedy_return": _FAILS}, source, holds)


SUITE: Final = Suite("partial_cartpole", "Partially observed CartPole", arms, judge)
