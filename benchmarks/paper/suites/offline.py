"""Learning from logged data alone (Zhu et al. 2023, table 3, settings of appendix B.2.2).

SAC plays and learns, and everything it did is the data: 100,000 steps at a temperature that stays high, as in the paper.
Each learner is then trained on it without playing, for half as many updates (on CartPole as many), and played without
exploration. Scores: (return - random) / (expert - random), where random is an untrained SAC and expert the best episode
in the data (Kostrikov et al. 2022). On Hopper the last policy of one seed says little: from one log IQL had a return of 1,026
after 25,000 updates and of 165 after 50,000, and from that log made again 262 and 1,974 after 30,000 and 50,000.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import gymnasium

from benchmarks.paper import settings
from benchmarks.paper.loop import Session, greedy_episodes, seeded_learner
from benchmarks.paper.results import Finding, Measured, Outcome, mean, not_run, over_seeds
from benchmarks.paper.suite import Arm, Environment, Request, Suite, Tick, parsed, why_not

_TASKS: Final = {"HalfCheetah-v5": 0.62, "Walker2d-v5": 0.52, "Hopper-v5": 0.31}
"""Pearl's score of IQL, of table 3, for the v4 of each."""
_CUT: Final = {"max_gradient_norm": 10.0}
"""What the results were made with. From one log of Hopper, without, IQL had a return of 826, 302, 252 and 1,209 after 10, 20,
30 and 40 thousand updates: as restless as with it."""
_LEARNERS: Final[dict[str, dict[str, Any]]] = {"iql": {"target_mix": 0.05, **_CUT}, "td3_bc": _CUT}
_HIGH_ENTROPY: Final = {
    **_CUT,
    "learning_rate": 3e-4,
    "initial_temperature": 0.25,
    "temperature_learning_rate": 0.0,
}
_CARTPOLE: Final = "CartPole-v1"
_DISCRETE: Final = f"{_CARTPOLE}: cql"
STEPS: Final = 100_000
_CARTPOLE_STEPS: Final = 20_000
_GREEDY: Final = 10
_AT_ONCE: Final = 8
"""Updates: those of a faster form come in eights."""


@dataclass(frozen=True, slots=True)
class FromLog:
    """What `_behaviour` did at `task` in `steps` steps is the data; then come `updates`."""

    task: str
    steps: int
    updates: int

    @property
    def ticks(self) -> int:
        return self.steps + self.updates

    def why_not(self, agent: Mapping[str, Any]) -> str:
        return why_not(_behaviour(self.task)) or why_not(agent)

    def __call__(self, agent: Mapping[str, Any], seed: int, tick: Tick) -> Outcome:
        started_s = time.perf_counter()
        player, config = _player(self.task, seed), parsed(agent)
        for at in range(self.steps):
            if at >= player.steps:
                player.step(keep=True)
            tick()
        learner = seeded_learner(config, seed)
        learner.learn(player.transitions)
        for at in range(0, self.updates, _AT_ONCE):
            count = min(_AT_ONCE, self.updates - at)
            learner.extra_updates(count)
            for _ in range(count):
                tick()
        played = greedy_episodes(config, learner, _environment(self.task), _GREEDY, seed)
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
        untrained = parsed(_behaviour(self.task) | _NO_SCHEDULE)
        player = Session(untrained, _environment(self.task), seed=seed, swap_steps=1)
        while len(player.episodes) < _GREEDY:
            player.step()
        return sum(one.total for one in player.episodes) / _GREEDY


@lru_cache(maxsize=1)
def _player(task: str, seed: int) -> Session:
    """One for all arms of a task: what was played once is there for the next."""
    return Session(parsed(_behaviour(task)), _environment(task), seed=seed, swap_steps=1)


def _behaviour(task: str) -> dict[str, Any]:
    """The agent section that makes the data: SAC, or a poor player at CartPole."""
    environment = _environment(task)
    if task == _CARTPOLE:
        return settings.value_based(environment, "dqn", target_mix=0.1)
    return settings.continuous(environment, "sac", **_HIGH_ENTROPY)


def arms(request: Request) -> list[Arm]:
    return [*(_arm(task, kind, request) for task in _TASKS for kind in _LEARNERS), _cql(request)]


def _arm(task: str, kind: str, request: Request) -> Arm:
    agent = settings.continuous(_environment(task), kind, **_LEARNERS[kind]) | _NO_SCHEDULE
    steps = request.steps or STEPS
    return Arm(f"{task}: {kind}", agent, FromLog(task, steps, steps // 2))


def _cql(request: Request) -> Arm:
    agent = settings.value_based(_environment(_CARTPOLE), "cql", target_mix=0.1) | _NO_SCHEDULE
    steps = request.steps or _CARTPOLE_STEPS
    return Arm(_DISCRETE, agent, FromLog(_CARTPOLE, steps, steps))


_NO_SCHEDULE: Final = {
    "schedule": {"batch_size": 256, "updates_per_transition": 0.0, **settings.FASTER}
}


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
