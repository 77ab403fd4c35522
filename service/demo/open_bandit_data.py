"""The Open Bandit Dataset as it is shipped: the items of the shop, and what two policies logged."""

from __future__ import annotations

import csv
import gzip
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Final

from nacre_client import Action

LOGGERS: Final = ("random", "bts")
"""The policies that logged: uniformly random, and Bernoulli Thompson sampling."""
ROWS_PER_LOGGER: Final = 10_000


@dataclass(frozen=True, slots=True)
class Logged:
    """One decision of the shop. `propensity`: the probability with which `logger` chose `item_id`."""

    decision_id: str
    logger: str
    at: datetime
    user: Mapping[str, str]
    position: int
    item_id: str
    propensity: float
    click: float

    @property
    def observation(self) -> dict[str, object]:
        return {"user": self.user, "position": self.position}


def read_items() -> list[Action]:
    """The 80 items with their features.

    Those of the `random` log: the publisher hashed the categories of the two logs differently, so one
    item has two descriptions, and a catalog can hold one.
    """
    with (_folder() / "random" / "item_context.csv").open(newline="") as file:
        return [Action(row["item_id"], features=_features(row)) for row in csv.DictReader(file)]


def _features(row: Mapping[str, str]) -> dict[str, object]:
    names = ("feature_1", "feature_2", "feature_3")
    return {"number": float(row["item_feature_0"])} | {n: row[f"item_{n}"] for n in names}


def read_logged(count: int) -> list[Logged]:
    """The first `count` decisions, half of them from each log, in the order of time."""
    halves = zip(LOGGERS, ((count + 1) // 2, count // 2), strict=True)
    logs = [islice(_read_log(logger), size) for logger, size in halves]
    return list(heapq.merge(*logs, key=lambda one: one.at))


def _read_log(logger: str) -> Iterator[Logged]:
    with gzip.open(_folder() / logger / "all.csv.gz", "rt", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield Logged(
                decision_id=f"{logger}-{number}",
                logger=logger,
                at=datetime.fromisoformat(row["timestamp"]),
                user={f"feature_{at}": row[f"user_feature_{at}"] for at in range(4)},
                position=int(row["position"]),
                item_id=row["item_id"],
                propensity=float(row["propensity_score"]),
                click=float(row["click"]),
            )


def _folder() -> Path:
    return Path(str(files("service.demo") / "data" / "open_bandit"))
