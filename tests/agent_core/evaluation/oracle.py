"""What two other libraries computed from the same inputs; `data/README.md` says which and how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent_core.evaluation.logged import LoggedDecisions
from agent_core.types import Doubles

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Model:
    """A reward model of a log: `taken` and `expected`, `[T]` each, as `terms.doubly_robust` takes them."""

    taken: Doubles
    expected: Doubles


@cache
def arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    with np.load(_DATA / f"{name}.npz") as stored:
        return dict(stored)


@cache
def expected() -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((_DATA / "expected.json").read_text("utf-8"))
    return numbers


def runs() -> list[Any]:
    """Each from one behaviour policy to one target policy: `params` for pytest."""
    found: list[Any] = expected()["runs"]
    return found


def run_name(run: dict[str, Any]) -> str:
    return f"{run['campaign']} {run['behavior']} to {run['evaluation']}"


def open_bandit(run: dict[str, Any]) -> LoggedDecisions:
    """The 10,000 decisions of a run; every set has all items."""
    stored, log = arrays("open_bandit"), f"{run['campaign']}_{run['behavior']}"
    items, positions = stored[f"{run['campaign']}_target_bts"], stored[f"{log}_position"]
    if run["evaluation"] == "random":
        items = np.full_like(items, 1 / len(items))
    propensity = stored[f"{log}_propensities"][stored[f"{log}_propensity"]]
    return LoggedDecisions(
        reward=clicks(run),
        propensity=propensity,
        action=stored[f"{log}_action"].astype(np.int64),
        target=items[:, positions].T.ravel(),
        offsets=np.arange(len(positions) + 1) * len(items),
    )


def clicks(run: dict[str, Any]) -> Doubles:
    stored, log = arrays("open_bandit"), f"{run['campaign']}_{run['behavior']}"
    reward = np.zeros(len(stored[f"{log}_action"]))
    reward[stored[f"{log}_clicked"]] = 1.0
    return reward


def models(run: dict[str, Any]) -> dict[str, Model]:
    """By the names that the oracle gives them. Logistic ones were kept for other target policies only."""
    stored, log = arrays("open_bandit"), f"{run['campaign']}_{run['behavior']}"
    known = {"tabular": _tabular(run)}
    if run["behavior"] != run["evaluation"]:
        for ours, theirs in (("logistic", "logistic_3fold"), ("mrdr", "mrdr_logistic_3fold")):
            columns = [stored[f"{log}_{ours}_{part}"] for part in ("taken", "expected")]
            known[theirs] = Model(*[column.astype(np.float64) for column in columns])
    return known


def _tabular(run: dict[str, Any]) -> Model:
    """Clicks of each item at each position, drawn to the mean by 100 more rows of it."""
    decisions, stored = open_bandit(run), arrays("open_bandit")
    position = stored[f"{run['campaign']}_{run['behavior']}_position"].astype(np.int64)
    items, reward = int(decisions.offsets[1]), decisions.reward
    cell = 3 * decisions.action + position
    clicked = np.bincount(cell, reward, minlength=3 * items)
    shown = np.bincount(cell, minlength=3 * items)
    values = ((clicked + 100 * reward.mean()) / (shown + 100)).reshape(items, 3)
    table = values[:, position].T.ravel()
    return Model(decisions.taken(table), decisions.expected(table))
