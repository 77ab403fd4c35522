"""Logs in memory, whose truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from agent_core.types import ActionSet, Doubles
from service.decisions.repository import EpisodePlace
from service.evaluation.schemas import EvaluationReport, EvaluationRequest
from service.evaluation.steps import LoggedStep, RefusedRow
from service.policies.encoding import CONTINUOUS_ID

IDS = ("a", "b", "c")
FEATURES = np.eye(3, dtype=np.float32)
REWARDS = np.array([0.2, 0.5, 0.8])


@dataclass
class Memory:
    """A source whose steps are a list."""

    steps: Sequence[LoggedStep]
    refused: list[RefusedRow] = field(default_factory=list)
    skipped: Mapping[str, int] = field(default_factory=Counter)

    @property
    def total(self) -> int | None:
        return len(self.steps)

    def __iter__(self) -> Iterator[LoggedStep]:
        return iter(self.steps)


def ask(target: str = "logged", **changes: object) -> EvaluationRequest:
    return EvaluationRequest(**({"target": target} | changes))  # type: ignore[arg-type]


def clicks(
    rows: int, target: Doubles, behaviour: Doubles | None = None, seed: int = 0
) -> list[LoggedStep]:
    """Decisions among three actions that earn 0 or 1, with means of `REWARDS` and 0.1 more or less as the state
    says; a cost of 1 for the third."""
    likely = np.full(3, 1 / 3) if behaviour is None else behaviour
    made = _clicks(rows, tuple(likely.tolist()), seed)
    return [replace(step, target=target) for step in made]


@lru_cache(maxsize=8)
def _clicks(rows: int, probabilities: tuple[float, ...], seed: int) -> tuple[LoggedStep, ...]:
    generator, likely = np.random.default_rng(seed), np.array(probabilities)
    drawn = generator.choice(3, size=rows, p=likely)
    steps = []
    for i in range(rows):
        state = generator.normal(size=2).astype(np.float32)
        action = int(drawn[i])
        mean = REWARDS[action] + 0.1 * np.sign(state[0])
        steps.append(
            LoggedStep(
                row=f"row {i}",
                decision_id=f"d{i}",
                at_ms=1_000 * i,
                state=state,
                actions=ActionSet(IDS, FEATURES),
                action=action,
                propensity=float(likely[action]),
                reward=float(generator.random() < mean),
                cost=float(action == 2),
                behaviour=likely,
                components={"click": 1.0} if i % 2 else {},
            )
        )
    return tuple(steps)


def walks(episodes: int, target: Doubles, steps: int = 3, seed: int = 0) -> list[LoggedStep]:
    """Episodes in which each of two actions is tried equally often; the state counts how often the second
    was, and each step earns what the state was plus what the action is. All end."""
    generator = np.random.default_rng(seed)
    rows = []
    for e in range(episodes):
        total = 0
        for t in range(steps):
            action = int(generator.random() < 0.5)
            rows.append(
                LoggedStep(
                    row=f"episode {e}, step {t}",
                    decision_id=f"e{e}-{t}",
                    at_ms=1000 * e + t,
                    state=np.array([total, t], np.float32),
                    actions=ActionSet(IDS[:2], FEATURES[:2]),
                    action=action,
                    propensity=0.5,
                    reward=float(total + action),
                    behaviour=np.full(2, 0.5),
                    target=target,
                    place=EpisodePlace(f"e{e}", t),
                    is_terminated=t == steps - 1,
                )
            )
            total += action
    return rows


def steers(rows: int, wanted: Doubles, seed: int = 0) -> list[LoggedStep]:
    """Continuous actions, normal around 0 with a deviation of 1, that earn 2 - (action - 0.5)^2."""
    generator = np.random.default_rng(seed)
    steps = []
    for i in range(rows):
        action = generator.normal(size=1)
        density = float(np.exp(-0.5 * action[0] ** 2) / np.sqrt(2 * np.pi))
        steps.append(
            LoggedStep(
                row=f"row {i}",
                decision_id=f"d{i}",
                at_ms=i,
                state=generator.normal(size=1).astype(np.float32),
                actions=ActionSet((CONTINUOUS_ID,), action.astype(np.float32)[None]),
                action=0,
                propensity=density,
                reward=float(2 - (action[0] - 0.5) ** 2 + 0.1 * generator.normal()),
                target=wanted,
            )
        )
    return steps


def but(step: LoggedStep, **changes: object) -> LoggedStep:
    return replace(step, **changes)  # type: ignore[arg-type]


def value_of(report: EvaluationReport, estimator: str) -> float:
    value = next(one.value for one in report.estimates if one.estimator == estimator)
    assert value is not None
    return value
