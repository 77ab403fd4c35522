"""Tables with labels as contextual bandits (Zhu et al. 2023, figure 4, settings of appendix B.3).

The offline learner regresses rewards on as many rows as the others see, with labels chosen uniformly. It is
then played greedily; that is the line to reach.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.paper import settings
from benchmarks.paper.environments.label_bandit import LabelBandit, LabelTable, load_table
from benchmarks.paper.loop import Session
from benchmarks.paper.results import Finding, Measured, Outcome, is_no_worse, not_run, over_seeds
from benchmarks.paper.suite import Arm, Environment, Online, Request, Suite, Tick, parsed, why_not

STEPS: Final = 20_000
_WINDOW: Final = 1_000
_OFFLINE: Final = "offline"
_DEVIATIONS: Final = 1.0
"""The paper takes 0.25. Here each reward counts once in the posterior; with 0.25 the letters, seed 0, had a
reward of 0.34 after 20,000 rows, with 1.0 it was 0.77."""
_GREEDY_ROWS: Final = 5_000
_EPOCHS: Final = 20


@dataclass(frozen=True, slots=True)
class Offline:
    """Collects `ticks` rows with the exploration of the policy file, then learns from all of them, then
    plays greedily."""

    environment: Callable[[], Environment]
    ticks: int

    def why_not(self, agent: Mapping[str, Any]) -> str:
        return why_not(agent)

    def __call__(self, agent: Mapping[str, Any], seed: int, tick: Tick) -> Outcome:
        started_s = time.perf_counter()
        config = parsed(agent)
        session = Session(config, self.environment(), seed=seed, swap_steps=self.ticks)
        for _ in range(self.ticks):
            session.step()
            tick()
        learner = session.learner
        learner.extra_updates(_EPOCHS * self.ticks // config.schedule.batch_size)
        played = session.greedy_episodes(self.environment(), min(_GREEDY_ROWS, self.ticks))
        reward = sum(one.total for one in played) / len(played)
        skipped = learner.skipped_transitions + learner.skipped_updates
        seconds = round(time.perf_counter() - started_s, 1)
        marks = [_WINDOW, self.ticks]
        numbers = {"greedy_return": reward}
        return Outcome(marks, [reward, reward], numbers, learner.updates, skipped, seconds)


def arms(request: Request) -> list[Arm]:
    return [arm for path in request.data for arm in _table_arms(path, request)]


def _table_arms(path: Path, request: Request) -> list[Arm]:
    table, steps = load_table(path), request.steps or STEPS
    environment = partial(LabelBandit, table)
    online = Online(environment, steps, window=_WINDOW)
    dim = table.rows.shape[1] + table.classes.bit_length()
    explorations: dict[str, dict[str, Any]] = {
        "LinUCB": {"kind": "ucb", "alpha": _DEVIATIONS},
        "LinTS": {"kind": "thompson"},
        "SquareCB": {"kind": "square_cb", "scale": 10 * math.sqrt(dim), "exponent": 0.5},
    }
    uniform = {"kind": "epsilon_greedy", "epsilon": 1.0}
    found = [
        Arm(f"{path.stem}: {name}", _policy(table, path.stem, exploration), online)
        for name, exploration in explorations.items()
    ]
    offline = _policy(table, path.stem, uniform)
    return [*found, Arm(f"{path.stem}: {_OFFLINE}", offline, Offline(environment, steps))]


def _policy(table: LabelTable, name: str, exploration: dict[str, Any]) -> dict[str, Any]:
    """B.3: 64 x 16 units (32 x 16 for yeast), learning rate 0.01, batches of 128, labels in binary."""
    sizes = settings.sized(LabelBandit(table))
    return {
        **sizes,
        "action_representation": sizes["action_representation"] | {"kind": "binary"},
        "policy_learner": {
            "kind": "neural_linear",
            "hidden": [32 if name == "yeast" else 64, 16],
            "learning_rate": 0.01,
            "weight_decay": 0.0,
        },
        "replay": {"kind": "fifo", "capacity": 100_000},
        "schedule": {"batch_size": 128, "updates_per_transition": 1.0, "warmup_transitions": 128},
        "exploration": exploration,
    }


def judge(measured: Measured) -> dict[str, Finding]:
    names = [arm for arm in measured.arms if not arm.endswith(_OFFLINE)]
    return {f"{arm} matches the offline learner": _matches(measured, arm) for arm in names}


def _matches(measured: Measured, arm: str) -> Finding:
    source = "the offline learner on as many uniformly labelled rows, less one standard error of the difference"
    offline_arm = f"{arm.partition(':')[0]}: {_OFFLINE}"
    if not measured.has(offline_arm):
        return not_run(source)
    online = over_seeds("reward", measured.last(arm))
    offline = over_seeds("reward", measured.last(offline_arm))
    holds = is_no_worse(online, offline, "reward", errors=1.0)
    return Finding(online, offline, source, holds)


SUITE: Final = Suite("uci_bandits", "Tables with labels as bandits", arms, judge)
