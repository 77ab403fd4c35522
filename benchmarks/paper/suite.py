"""How a suite is put together: arms that are measured seed by seed, and a judge of what came out.

    SUITE = Suite("deep_sea", "Deep Sea", arms, judge)

An arm is an agent section of a policy file and a way to measure it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import gymnasium
import msgspec

from agent_core import registry
from agent_core.config import AgentConfig, parse_agent_config
from agent_core.errors import ConfigError
from benchmarks.paper.loop import Session
from benchmarks.paper.results import Finding, Measured, Outcome, averages, marks_of, not_run

Environment: TypeAlias = gymnasium.Env[Any, Any]
Tick: TypeAlias = Callable[[], None]
"""Called after every environment step, or every update where there are none."""


class Measure(Protocol):
    """Measures one seed of one arm. `ticks`: how often it calls `tick`."""

    @property
    def ticks(self) -> int: ...

    def why_not(self, agent: Mapping[str, Any]) -> str:
        """Why `agent` cannot be measured; empty if it can."""
        ...

    def __call__(self, agent: Mapping[str, Any], seed: int, tick: Tick) -> Outcome: ...


class Arm(NamedTuple):
    """`agent`: the agent section of a policy file, or the settings of a peer."""

    name: str
    agent: Mapping[str, Any]
    measure: Measure


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. `steps`: replaces the number of environment steps of every arm. `data`: npz
    files of tables with labels."""

    steps: int | None = None
    data: tuple[Path, ...] = ()


class Suite(NamedTuple):
    """`arms`: what is compared. `judge`: the claims, from what was measured; it must do with arms
    missing."""

    name: str
    title: str
    arms: Callable[[Request], list[Arm]]
    judge: Callable[[Measured], dict[str, Finding]]

    def judged(self, outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Finding]:
        """The claims. What has no number, because no episode ended, is not measured."""
        found = self.judge(Measured(outcomes))
        return {
            claim: one if all(map(math.isfinite, one.measured.values())) else not_run(one.source)
            for claim, one in found.items()
        }


@dataclass(frozen=True, slots=True)
class Online:
    """Plays and learns for `ticks` steps, then plays `greedy` episodes without exploration.

    `swap_steps`: environment steps between two versions of what acts. `window`: steps over whose episodes
    a point of the curve is a mean, as in the paper. `every`: steps between two points. `greedy_every`: steps
    between two looks of `greedy` episodes before the end, of which the highest return is kept; 0 for none.
    """

    environment: Callable[[], Environment]
    ticks: int
    swap_steps: int = 1
    window: int = 5_000
    every: int = 1_000
    greedy: int = 0
    greedy_every: int = 0

    def why_not(self, agent: Mapping[str, Any]) -> str:
        return why_not(agent)

    def __call__(self, agent: Mapping[str, Any], seed: int, tick: Tick) -> Outcome:
        started_s = time.perf_counter()
        session = Session(parsed(agent), self.environment(), seed=seed, swap_steps=self.swap_steps)
        looks = []
        for step in range(1, self.ticks + 1):
            session.step()
            if self._is_look(step):
                looks.append(_greedy_return(session, self.environment(), self.greedy))
            tick()
        marks = marks_of(self.ticks, self.every)
        return Outcome(
            marks,
            averages(session.episodes, marks, self.window),
            self._numbers(session, looks),
            session.learner.updates,
            session.learner.skipped_transitions + session.learner.skipped_updates,
            round(time.perf_counter() - started_s, 1),
        )

    def _is_look(self, step: int) -> bool:
        """Whether to play without exploration after `step`: at the end, and in between if so asked."""
        is_between = self.greedy_every > 0 and step % self.greedy_every == 0
        return self.greedy > 0 and (is_between or step == self.ticks)

    def _numbers(self, session: Session, looks: Sequence[float]) -> dict[str, float]:
        recent = [one for one in session.episodes if one.end_step > self.ticks - self.window]
        numbers = {"swap_steps": float(self.swap_steps)}
        if recent:
            steps = sum(one.steps for one in recent)
            numbers["cost_per_step"] = sum(one.cost for one in recent) / steps
        if looks:
            numbers["greedy_return"] = looks[-1]
        if looks and self.greedy_every:
            numbers["highest_greedy_return"] = max(looks)
        return numbers


def _greedy_return(session: Session, environment: Environment, count: int) -> float:
    played = session.greedy_episodes(environment, count)
    return sum(one.total for one in played) / count


_SLOTS: Final = {
    "policy_learner": registry.AnyLearner,
    "exploration": registry.AnyExploration,
    "history": registry.AnyHistory,
    "safety": registry.AnySafety,
    "replay": registry.AnyReplay,
    "action_representation": registry.AnyRepresentation,
    "actions": registry.AnyActions,
}


def missing_kinds(agent: Mapping[str, Any]) -> list[str]:
    """The modules that `agent` names and that are not registered: "policy_learner ppo"."""
    missing = []
    for slot, union in _SLOTS.items():
        kinds = {config.model_fields["kind"].default for config in registry.members(union)}
        if slot in agent and agent[slot]["kind"] not in kinds:
            missing.append(f"{slot} {agent[slot]['kind']}")
    return missing


def why_not(agent: Mapping[str, Any]) -> str:
    """Why an agent section cannot be run; empty if it can."""
    if missing := missing_kinds(agent):
        return f"not available: {', '.join(missing)}"
    try:
        parsed(agent)
    except ConfigError as error:
        return f"not available: {error}"
    return ""


def parsed(agent: Mapping[str, Any]) -> AgentConfig:
    """The configuration of an arm.

    Raises:
        ConfigError: it is not valid.
    """
    return parse_agent_config(msgspec.to_builtins(agent))
