"""One log and a small network, evaluated in this process, by two, and as Ray tasks by two workers."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import torch
from msgspec import Struct

from agent_core.snapshot import PolicySnapshot
from agent_core.types import ActionSet
from service.evaluation.evaluate import evaluate
from service.evaluation.known import Known
from service.evaluation.parallel import Run, in_turn, processes
from service.evaluation.schemas import EvaluationReport, EvaluationRequest
from service.evaluation.steps import LoggedStep, RefusedRow
from service.evaluation.targets import Target, Version
from service.policies.artefacts import ArtefactStore
from service.policies.config import parse_policy

_ACTIONS = 10
_NUMBERS = 16
_POLICY: dict[str, Any] = {
    "policy": "made-up",
    "agent": {
        "observation": {"kind": "vector", "dim": _NUMBERS},
        "actions": {"kind": "vector", "dim": _NUMBERS},
        "policy_learner": {"kind": "neural_linear"},
        "exploration": {"kind": "epsilon_greedy", "epsilon": 0.2},
        "action_representation": {"kind": "identity"},
        "replay": {"kind": "fifo", "capacity": 1000},
    },
}


class Timing(Struct, frozen=True):
    """`seconds`: of the second of two evaluations, so that processes have started. `is_same`: whether every
    estimate is that of one process, but for rounding: libraries round differently with other numbers of threads."""

    how: str
    decisions: int
    seconds: float
    decisions_per_s: float
    is_same: bool


@dataclass
class Synthetic:
    """Decisions among ten actions with 16 numbers each."""

    decisions: int
    refused: list[RefusedRow] = field(default_factory=list)
    skipped: Mapping[str, int] = field(default_factory=Counter)

    @property
    def total(self) -> int | None:
        return self.decisions

    def __iter__(self) -> Iterator[LoggedStep]:
        generator = np.random.default_rng(0)
        features = generator.normal(size=(_ACTIONS, _NUMBERS)).astype(np.float32)
        actions = ActionSet(tuple(map(str, range(_ACTIONS))), features)
        behaviour = np.full(_ACTIONS, 1 / _ACTIONS)
        for i in range(self.decisions):
            state = generator.normal(size=_NUMBERS).astype(np.float32)
            action = int(generator.integers(_ACTIONS))
            reward = float(generator.random() < 1 / (1 + np.exp(-state @ features[action] / 4)))
            yield LoggedStep(
                f"row {i}", f"d{i}", i, state, actions, action, 1 / _ACTIONS, reward,
                behaviour=behaviour,
            )  # fmt: skip


def timings(decisions: int) -> list[Timing]:
    """Ray is left out where it is not installed."""
    with TemporaryDirectory(prefix="nacre-bench-") as folder:
        target = _network(Path(folder))
        alone, expected = _timed("this process", decisions, target, _here(), None)
        found = [alone, _timed("two processes", decisions, target, processes(2), expected)[0]]
        if find_spec("ray") is not None:
            found.append(_timed("Ray, two workers", decisions, target, _ray(), expected)[0])
        return found


def _network(artefacts: Path) -> Version:
    """A version that has learned nothing, which is as costly to ask as any other."""
    config = parse_policy(_POLICY)
    torch.manual_seed(0)
    policy = config.agent.policy_learner.build_policy(config.agent.spec)
    snapshot = PolicySnapshot.of(
        policy, policy_name="made-up", model_version=1, config=config.agent, created_at=""
    )
    ArtefactStore(artefacts).save("made-up", 1, snapshot)
    body = msgspec.json.encode(config.model_dump(mode="json"))
    return Version("made-up", 1, body, artefacts)


@contextmanager
def _here() -> Iterator[Run]:
    yield in_turn


@contextmanager
def _ray() -> Iterator[Run]:
    import ray

    from service.evaluation.on_ray import on_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield on_ray()
    finally:
        ray.shutdown()


def _timed(
    how: str,
    decisions: int,
    target: Target,
    workers: AbstractContextManager[Run],
    expected: EvaluationReport | None,
) -> tuple[Timing, EvaluationReport]:
    with workers as run:
        _evaluated(decisions, target, run)
        begin_s = time.perf_counter()
        report = _evaluated(decisions, target, run)
        seconds = time.perf_counter() - begin_s
    is_same = expected is None or _is_same(report, expected)
    return Timing(how, decisions, seconds, decisions / seconds, is_same), report


def _evaluated(decisions: int, target: Target, run: Run) -> EvaluationReport:
    request = EvaluationRequest(target="1")
    return evaluate(Synthetic(decisions), target, request, Known("made up"), run=run)


def _is_same(report: EvaluationReport, expected: EvaluationReport) -> bool:
    both = zip(report.estimates, expected.estimates, strict=True)
    return all(
        math.isclose(one.value or 0.0, other.value or 0.0, rel_tol=1e-9) for one, other in both
    )
