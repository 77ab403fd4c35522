"""The Open Bandit logs as a source, and every estimate beside the value on the target's own log.

The data set (Saito et al. 2021, Apache-2.0) is read from `$NACRE_DATA/obd`. What Thompson sampling would have
done is a table of the publisher's, in `$NACRE_DATA/obd_oracle`.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from agent_core.functional.keys import key_of
from agent_core.types import ActionSet, Doubles, Floats
from service.clock import parse_ms
from service.evaluation.estimators import ESTIMATORS
from service.evaluation.evaluate import evaluate
from service.evaluation.known import Known
from service.evaluation.schemas import EvaluationReport, EvaluationRequest
from service.evaluation.steps import LoggedStep, RefusedRow
from service.evaluation.targets import named

Policy = Literal["random", "bts"]
_CAMPAIGNS: Final = ("all", "men")
_POSITIONS: Final = 3
_BUCKETS: Final = 12
"""For hashed categories, of users and of items alike."""
_ORACLE: Final = {"ips": "ipw", "snips": "snipw"}
"""Ours by the names of the other library; without a model both are the same arithmetic."""


class Line(Struct, frozen=True):
    """One estimate. `apart`: from the value on the target's own log, in standard errors of both together."""

    estimator: str
    value: float
    standard_error: float
    parameter: float | None
    apart: float


class Run(Struct, frozen=True):
    """One log and one target. `own`: the mean of the target's own log, with its standard error. `oracle`: values
    that another library computed, by our names."""

    campaign: str
    log: str
    target: str
    own: float
    own_error: float
    logged: float
    effective_rows: float
    mean_weight: float
    bounds: dict[str, float | None]
    lines: list[Line]
    oracle: dict[str, float]


@dataclass
class OpenBandit:
    """One log. `target`: `[items, 3]`, the target's probabilities at each position."""

    folder: Path
    policy: Policy
    campaign: str
    target: Doubles
    refused: list[RefusedRow] = field(default_factory=list)
    skipped: Mapping[str, int] = field(default_factory=Counter)

    @property
    def total(self) -> int | None:
        return None

    def __iter__(self) -> Iterator[LoggedStep]:
        items = ActionSet(*_items(self.folder / "item_context.csv"))
        uniform = np.full(len(items), 1 / len(items))
        with gzip.open(self.folder / f"{self.campaign}.csv.gz", "rt", encoding="utf-8") as file:
            for i, row in enumerate(csv.DictReader(file)):
                yield self._step(i, row, items, uniform)

    def _step(self, i: int, row: dict[str, str], items: ActionSet, uniform: Doubles) -> LoggedStep:
        position = int(row["position"]) - 1
        return LoggedStep(
            row=f"{self.campaign}.csv.gz:{i + 2}",
            decision_id=f"{self.policy}-{self.campaign}-{i}",
            at_ms=parse_ms(row["timestamp"]),
            state=_state(row, position),
            actions=items,
            action=int(row["item_id"]),
            propensity=float(row["propensity_score"]),
            reward=float(row["click"]),
            behaviour=uniform if self.policy == "random" else None,
            target=self.target[:, position],
        )


def _state(row: dict[str, str], position: int) -> Floats:
    """`[15]`: the position, and how often each bucket has one of the user's categories."""
    state = np.zeros(_POSITIONS + _BUCKETS, np.float32)
    state[position] = 1.0
    for feature in range(4):
        state[_POSITIONS + key_of(row[f"user_feature_{feature}"]) % _BUCKETS] += 1.0
    return state


def _items(path: Path) -> tuple[tuple[str, ...], Floats]:
    with path.open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["item_id"]))
    features = np.zeros((len(rows), 1 + _BUCKETS), np.float32)
    for i, row in enumerate(rows):
        features[i, 0] = float(row["item_feature_0"])
        for feature in range(1, 4):
            features[i, 1 + key_of(row[f"item_feature_{feature}"]) % _BUCKETS] += 1.0
    return tuple(row["item_id"] for row in rows), features


def runs(data: Path) -> Iterator[Run]:
    """Both directions of both campaigns.

    Raises:
        OSError: the data are not there.
    """
    for campaign in _CAMPAIGNS:
        tables = _tables(data, campaign)
        for log, target in (("random", "bts"), ("bts", "random")):
            own = _mean(_open(data, target, campaign, tables[target]))
            source = _open(data, log, campaign, tables[target])
            yield _run(source, campaign, log, target, own, _oracle(data, campaign, log, target))


def _open(data: Path, policy: str, campaign: str, target: Doubles) -> OpenBandit:
    folder = data / "obd" / policy / campaign
    return OpenBandit(folder, "random" if policy == "random" else "bts", campaign, target)


def _tables(data: Path, campaign: str) -> dict[str, Doubles]:
    path = data / "obd_oracle" / f"obp_oracle_{campaign}_random_to_bts.npz"
    with np.load(path, allow_pickle=False) as stored:
        sampled = stored["action_dist"].astype(np.float64)
    return {"bts": sampled, "random": np.full_like(sampled, 1 / len(sampled))}


def _mean(own: OpenBandit) -> tuple[float, float]:
    clicks = np.array([step.reward for step in own])
    return float(clicks.mean()), float(clicks.std(ddof=1) / math.sqrt(len(clicks)))


def _oracle(data: Path, campaign: str, log: str, target: str) -> dict[str, float]:
    """What the other library found without a model."""
    import json

    path = data / "obd_oracle" / "obp_oracle.json"
    stored = json.loads(path.read_text("utf-8"))
    for run in stored["runs"]:
        if (run["campaign"], run["behavior"], run["evaluation"]) == (campaign, log, target):
            known = run["estimates"]["tabular"]
            return {ours: known[theirs] for ours, theirs in _ORACLE.items()}
    return {}


def _run(
    source: OpenBandit,
    campaign: str,
    log: str,
    target: str,
    own: tuple[float, float],
    oracle: dict[str, float],
) -> Run:
    names = [name for name, one in ESTIMATORS.items() if one.family == "decisions"]
    if log != "random":
        names.remove("mips")  # Thompson sampling logged the propensity of the item alone
    request = EvaluationRequest(target="logged", estimators=names)
    report = evaluate(source, named("logged"), request, Known(f"{campaign}, {log}"))
    assert report.weights is not None and report.logged is not None  # noqa: PT018  # there are rows
    return Run(
        campaign,
        log,
        target,
        *own,
        report.logged,
        report.effective_rows,
        report.weights.mean,
        report.bounds,
        _lines(report, own),
        oracle,
    )


def _lines(report: EvaluationReport, own: tuple[float, float]) -> list[Line]:
    return [
        Line(
            one.estimator,
            one.value,
            one.standard_error,
            one.parameter,
            (one.value - own[0]) / math.hypot(one.standard_error, own[1]),
        )
        for one in report.estimates
        if one.value is not None and one.standard_error is not None
    ]
