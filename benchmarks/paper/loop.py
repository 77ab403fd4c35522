"""The one loop of these benchmarks: an environment and a policy file, in process, step by step.

    session = Session(config, environment, seed=0, swap_steps=1)
    for _ in range(30_000):
        session.step()
    session.episodes                                # returns of what was played, to learn from
    session.greedy_episodes(another_environment, 10)   # without exploration; nothing is learned from it

It does in one process what the service does in several. A transition is complete, and learned from, when the next
step of its episode is decided. What acts is a copy of the policy, replaced every `swap_steps` steps, as
a learner that publishes replaces what is served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import gymnasium
import msgspec
import numpy as np

from agent_core.agent import seed_of
from agent_core.config import AgentConfig
from agent_core.interfaces import HistoryModule
from agent_core.learner import learner_of
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import ActionSet, Floats, Transition
from benchmarks.paper.acting import Acting, Taken, acting_for

GREEDY_SEED: Final = 1_000_000
"""Greedy episodes begin elsewhere than those that were learned from."""


class Episode(msgspec.Struct, frozen=True):
    """One whole episode. `end_step`: environment steps of the session when it ended."""

    end_step: int
    steps: int
    total: float
    cost: float


class Seat:
    """One environment, and where its episode stands."""

    def __init__(
        self, environment: gymnasium.Env[Any, Any], history: HistoryModule, name: str, seed: int
    ) -> None:
        self._environment = environment
        self._history = history
        self._name = name
        self._number = 0
        self.begin(seed)

    def begin(self, seed: int | None = None) -> None:
        """A new episode; `seed` only for the first."""
        observed, self.info = self._environment.reset(seed=seed)
        self._carry = self._history.initial_carry()
        self._show(observed)
        self._number += 1
        self.steps, self.total, self.cost = 0, 0.0, 0.0

    @property
    def episode_id(self) -> str:
        return f"{self._name}-{self._number}"

    def take(self, taken: Taken) -> _Outcome:
        """Plays one step."""
        observed, reward, terminated, truncated, self.info = self._environment.step(taken.played)
        cost = float(self.info.get("cost", 0.0))
        self._carry = self._history.advance(self._carry, self._observation, taken.features)
        self._show(observed)
        self.steps += 1
        self.total += float(reward)
        self.cost += cost
        return _Outcome(float(reward), cost, terminated, truncated)

    def ended(self, at_step: int) -> Episode:
        """The episode that is over."""
        return Episode(at_step, self.steps, self.total, self.cost)

    def _show(self, observed: Any) -> None:
        self._observation = np.asarray(observed, np.float32).reshape(-1)
        self.state: Floats = self._history.state(self._carry, self._observation)


@dataclass(frozen=True, slots=True)
class _Outcome:
    reward: float
    cost: float
    terminated: bool
    truncated: bool


class Session:
    """One agent that learns in one environment. The same arguments give the same session.

    `swap_steps`: environment steps between two versions of what acts. `seed`: of the environment, the
    decisions, the initial weights and the draws from the replay.

    Raises:
        TypeError: `config` has other actions than `environment`.
    """

    def __init__(
        self,
        config: AgentConfig,
        environment: gymnasium.Env[Any, Any],
        *,
        seed: int,
        swap_steps: int,
    ) -> None:
        self._config = config
        self._seed = seed
        self._swap_steps = swap_steps
        self._history = config.history_module()
        self._acting = acting_for(config, environment)
        self._seat = Seat(environment, self._history, f"{seed}", seed)
        self.learner = seeded_learner(config, seed)
        self._load()
        self._pending: Transition | None = None
        self.steps = 0
        self.episodes: list[Episode] = []
        self.transitions: list[Transition] = []

    def step(self, *, keep: bool = False) -> None:
        """One environment step; `keep` also remembers what was learned from in `transitions`."""
        seat = self._seat
        state, offered = seat.state, self._acting.offered(seat.info)
        taken = _decision(self._acting, seat, offered, self._seed, explore=True)
        if self._pending is not None:
            self._learn(_followed(self._pending, state, taken.actions, taken.index), keep)
        step = seat.steps
        outcome = seat.take(taken)
        self.steps += 1
        made = _transition(seat.episode_id, step, state, taken, outcome)
        if outcome.terminated or outcome.truncated:
            if not outcome.terminated:
                made = _followed(made, seat.state, self._acting.offered(seat.info), None)
            self._learn(made, keep)
            self._end_episode()
        else:
            self._pending = made
        if self.steps % self._swap_steps == 0:
            self._load()

    def greedy_episodes(self, environment: gymnasium.Env[Any, Any], count: int) -> list[Episode]:
        """`greedy_episodes` by the policy as it is now."""
        return greedy_episodes(self._config, self.learner, environment, count, self._seed)

    def _learn(self, transition: Transition, keep: bool) -> None:
        self.learner.learn([transition])
        if keep:
            self.transitions.append(transition)

    def _end_episode(self) -> None:
        self._pending = None
        self.episodes.append(self._seat.ended(self.steps))
        self._seat.begin()

    def _load(self) -> None:
        self._acting.load(self.learner.policy, self.learner.experience)


def greedy_episodes(
    config: AgentConfig,
    learner: AgentLearner,
    environment: gymnasium.Env[Any, Any],
    count: int,
    seed: int,
) -> list[Episode]:
    """`count` episodes without exploration. Nothing is learned from them."""
    acting = acting_for(config, environment)
    acting.load(learner.policy, learner.experience)
    seat = Seat(environment, config.history_module(), "greedy", seed + GREEDY_SEED)
    return [_greedy_episode(acting, seat) for _ in range(count)]


def _greedy_episode(acting: Acting, seat: Seat) -> Episode:
    is_over = False
    while not is_over:
        offered = acting.offered(seat.info)
        outcome = seat.take(_decision(acting, seat, offered, 0, explore=False))
        is_over = outcome.terminated or outcome.truncated
    ended = seat.ended(seat.steps)
    seat.begin()
    return ended


def seeded_learner(config: AgentConfig, seed: int) -> AgentLearner:
    """The learner of a policy file, with another seed."""
    schedule = config.schedule.model_copy(update={"seed": seed})
    return learner_of(config.model_copy(update={"schedule": schedule}))


def _decision(
    acting: Acting, seat: Seat, offered: ActionSet | None, seed: int, *, explore: bool
) -> Taken:
    salt = f"paper-{seed}"
    return acting.take(
        seat.state,
        offered,
        seed=seed_of(f"{seat.episode_id}-{seat.steps}", salt),
        episode=seed_of(seat.episode_id, salt),
        explore=explore,
    )


def _transition(
    episode_id: str, step: int, state: Floats, taken: Taken, outcome: _Outcome
) -> Transition:
    """A step after which nothing is known yet."""
    return Transition(
        decision_id=f"{episode_id}-{step}",
        state=state,
        actions=taken.actions,
        action=taken.index,
        reward=outcome.reward,
        cost=outcome.cost,
        next_state=None,
        next_actions=None,
        terminated=outcome.terminated,
        truncated=outcome.truncated and not outcome.terminated,
        propensity=taken.propensity,
        model_version=1,
        episode_id=episode_id,
        step=step,
    )


def _followed(
    made: Transition, state: Floats, offered: ActionSet | None, action: int | None
) -> Transition:
    """`made` with what came next; `action` None where nobody acted on it."""
    return replace(made, next_state=state, next_actions=offered, next_action=action)
