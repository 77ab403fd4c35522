"""Learning from logged data alone (Zhu et al. 2023, table 3, settings of appendix B.2.2).

SAC plays and learns, and everything it did is the data: 100,000 steps, as in the paper. Each learner is then trained on it
without playing, and played without exploration. Scores: (return - random) / (expert - random), where random is an
untrained SAC and expert the best episode in the data (Kostrikov et al. 2022).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.loop import Session, greedy_episodes, learner_of
from benchmarks.paper.results import Finding, Measured, Outcome, mean, not_run, over_seeds
from benchmarks.paper.suite import Arm, Environment, Request, Suite, Tick, parsed, why_not

_TASKS: Final = {"HalfCheetah-v5": 0.62, "Hopper-v5": 0.31}
"""Pearl's score of IQL, of table 3, for the v4 of each."""
_LEARNERS: Final = ("iql", "td3_bc")
_DISCRETE: Final = "CartPole-v1: cql"
STEPS: Final = 100_000
_CARTPOLE_STEPS: Final = 20_000
_GREEDY: Final = 10


@dataclass(frozen=True, slots=True)
class FromLog:
    """`behaviour`: the agent section that makes the data in `steps` steps; then as many updates."""

    environment: Callable[[], Environment]
    behaviour: Mapping[str, Any]
    steps: int

    @property
    def ticks(self) -> int:
        return 2 * self.steps

    def why_not(self, agent: Mapping[str, Any]) -> str:
        return why_not(self.behaviour) or why_not(agent)

    def __call__(self, agent: Mapping[str, Any], seed: int, tick: Tick) -> Outcome:
        started_s = time.perf_counter()
        behaviour = parsed(self.behaviour)
        player = Session(behaviour, self.environment(), seed=seed, swap_steps=1)
        for _ in range(self.steps):
            player.step(keep=True)
            tick()
        config = parsed(agent)
        learner = learner_of(config, seed)
        learner.learn(player.transitions)
        for _ in range(self.steps):
            learner.extra_updates(1)
            tick()
        played = greedy_episodes(config, learner, self.environment(), _GREEDY, seed)
        numbers = {
            "random_return": self._untrained_return(seed),
            "expert_return": max(one.total for one in player.episodes),
            "behaviour_return": sum(one.total for one in player.episodes) / len(player.episodes),
            "greedy_return": sum(one.total for one in played) / _GREEDY,
        }
        skipped = learner.skipped_transitions + learner.skipped_updates
        seconds = round(time.perf_counter() - started_s, 1)
        return Outcome([], [], numbers, learner.updates, skipped, seconds)

    def _untrained_return(self, seed: int) -> float:
        """Of the behaviour policy before it has learned anything, as it explores."""
        untrained = dict(self.behaviour) | _NO_SCHEDULE
        player = Session(parsed(untrained), self.environment(), seed=seed, swap_steps=1)
        while len(player.episodes) < _GREEDY:
            player.step()
        return sum(one.total for one in player.episodes) / _GREEDY


def arms(request: Request) -> list[Arm]:
    return [*(_arm(task, kind, request) for task in _TASKS for kind in _LEARNERS), _cql(request)]


def _arm(task: str, kind: str, request: Request) -> Arm:
    environment = partial(_environment, task)
    behaviour = settings.continuous(environment(), "sac")
    agent = settings.continuous(environment(), kind) | _NO_SCHEDULE
    return Arm(f"{task}: {kind}", agent, FromLog(environment, behaviour, request.steps or STEPS))


def _cql(request: Request) -> Arm:
    """Discrete: what a poor player did at CartPole is the data."""
    environment = partial(_environment, "CartPole-v1")
    behaviour = settings.value_based(environment(), "dqn", target_mix=0.1)
    agent = settings.value_based(environment(), "cql", target_mix=0.1) | _NO_SCHEDULE
    return Arm(_DISCRETE, agent, FromLog(environment, behaviour, request.steps or _CARTPOLE_STEPS))


_NO_SCHEDULE: Final = {"schedule": {"batch_size": 256, "updates_per_transition": 0.0}}


def _environment(task: str) -> Environment:
    return gymnasium.make(task)


def judge(measured: Measured) -> dict[str, Finding]:
    scores = {
        f"{task}: {kind}": _score(measured, f"{task}: {kind}", reference)
        for task, reference in _TASKS.items()
        for kind in _LEARNERS
    }
    return scores | {_DISCRETE: _better_than_data(measured)}


def _score(measured: Measured, arm: str, anchor: float) -> Finding:
    source = "at least Pearl's normalized score of IQL (table 3, other data)"
    if not measured.has(arm):
        return not_run(source)
    names = ("greedy_return", "random_return", "expert_return")
    rows = zip(*(measured.number(arm, name) for name in names), strict=True)
    scores = [(reached - random) / (expert - random) for reached, random, expert in rows]
    returns = {name: mean(measured.number(arm, name)) for name in names}
    found = over_seeds("score", scores) | returns
    return Finding(found, {"score": anchor}, source, found["score"] >= anchor)


def _better_than_data(measured: Measured) -> Finding:
    source = "more than the mean return of the data"
    if not measured.has(_DISCRETE):
        return not_run(source)
    reached = mean(measured.number(_DISCRETE, "greedy_return"))
    behaviour = mean(measured.number(_DISCRETE, "behaviour_return"))
    found, reference = {"greedy_return": reached}, {"greedy_return": behaviour}
    return Finding(found, reference, source, reached > behaviour)


SUITE: Final = Suite("offline", "Learning from a log", arms, judge)
