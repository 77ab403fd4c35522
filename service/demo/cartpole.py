"""`nacre demo --env CartPole-v1`: a gymnasium environment, played as episodes over HTTP.

two tables of eight environments, each a loop:
    POST /v1/act:batch        one step of all eight, with the actions available to each
    POST /v1/observe          their rewards, while the next step is being decided
    POST /v1/episodes/../seal how an episode ended: terminated, or truncated and what was seen then
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import gymnasium
import numpy as np
from nacre_client import ActRequest, AsyncClient, Decision, NacreError, RewardRequest
from rich.console import Console

from service.demo.account import (
    Account,
    LogCheck,
    Sent,
    account_details,
    account_promises,
    account_rows,
    check_archive,
    settled_account,
)
from service.demo.chart import Chart, Line
from service.demo.lag import Sightings
from service.demo.progress import REFRESH_S, Ticker
from service.demo.report import Promise, Report
from service.demo.stage import Stage, shipped_policy
from service.demo.stats import percentile_ms

_CARTPOLE: Final = "CartPole-v1"
_GOAL: Final = 195.0
"""Average return over `_WINDOW` episodes in a row; promised for CartPole-v1 only."""
_WINDOW: Final = 100
_TIME_S: Final = 285.0
"""Five minutes, less what starting and stopping take."""
_TABLES: Final = 2
_SEATS: Final = 8
_SETTLE_S: Final = 60.0
_REWARD_ID: Final = "step"
_AHEAD: Final = 1_500
"""Steps that the play may be ahead of the newest version. Whoever runs further ahead on a slow machine
plays with a policy that knows nothing of its latest mistakes: then learning oscillates."""
_ASK_EVERY_S: Final = 0.25

EndOfEpisode: TypeAlias = Literal["terminated", "truncated", "abandoned"]


class EpisodesDemo:
    """Any environment with a vector to observe and a few actions; the promise is about CartPole-v1.

    Raises:
        ValueError: there is no such environment, or it is of another kind.
    """

    def __init__(self, environment: str, requests: int | None, seed: int) -> None:
        self.environment = environment
        self.requests = requests
        self.seed = seed
        self._state_dim, actions = _sizes(environment)
        self.actions = (
            ["left", "right"] if environment == _CARTPOLE else [str(one) for one in range(actions)]
        )

    def policy(self) -> dict[str, Any]:
        """The policy of CartPole, with the sizes of this environment."""
        document = shipped_policy("cartpole")
        document["agent"] |= {
            "observation": {"kind": "vector", "dim": self._state_dim},
            "action_representation": {"kind": "one_hot", "ids": self.actions},
            "max_actions": len(self.actions),
        }
        return document

    async def play(self, stage: Stage, console: Console) -> Report:
        """Plays until the goal is reached, the time is over, or all `requests` are spent."""
        async with stage.client() as client:
            game = _Game(client, self)
            with Ticker(console, *_scale(self)) as ticker:
                await game.run(stage, ticker)
            account = await settled_account(client, _SETTLE_S)
            check = await check_archive(stage.archive, game.sent, account.pending)
        return _report(self, game, account, check)


def _sizes(environment: str) -> tuple[int, int]:
    """Numbers in an observation, and actions."""
    try:
        made = gymnasium.make(environment)
    except gymnasium.error.Error as error:
        raise ValueError(str(error)) from None
    observed, acted = made.observation_space, made.action_space
    if isinstance(observed, gymnasium.spaces.Box) and isinstance(acted, gymnasium.spaces.Discrete):
        return math.prod(observed.shape), int(acted.n)
    raise ValueError(
        f"{environment} observes {observed} and acts in {acted}; the demo plays environments with a Box "
        "to observe and Discrete actions, such as CartPole-v1"
    )


def _scale(demo: EpisodesDemo) -> tuple[str, int]:
    """What the progress bar counts: steps where they are limited, else seconds."""
    if demo.requests is not None:
        return f"{demo.environment}, steps", demo.requests
    return f"{demo.environment}, seconds", int(_TIME_S)


# -- playing ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """One finished episode. `at_s`, `at_step`: since the start of the demo, over all environments."""

    total: float
    at_s: float
    at_step: int


@dataclass(slots=True)
class Seat:
    """One environment and the episode that it is in."""

    environment: gymnasium.Env[Any, Any]
    name: str
    observation: list[float] = field(default_factory=list)
    episodes: int = 0
    step: int = 0
    total: float = 0.0
    decision_id: str | None = None

    @property
    def episode_id(self) -> str:
        return f"{self.name}-{self.episodes}"

    def begin(self, seed: int | None = None) -> None:
        """A new episode."""
        self.observation = _flat(self.environment.reset(seed=seed)[0])
        self.episodes += 1
        self.step, self.total, self.decision_id = 0, 0.0, None

    def request(self, actions: Sequence[str]) -> ActRequest:
        """Asks for the next step."""
        place: dict[str, Any] = {"episode_id": self.episode_id, "step": self.step}
        if self.decision_id is not None:
            place["previous_decision_id"] = self.decision_id
        return {
            "decision_id": f"{self.episode_id}-{self.step}",
            "observation": self.observation,
            "actions": actions,
            "episode": place,
        }

    def take(self, decision: Decision) -> tuple[float, EndOfEpisode | None]:
        """Plays the decision; returns the reward, and how the episode ended if it did."""
        observation, reward, terminated, truncated, _ = self.environment.step(decision.action.index)
        self.observation = _flat(observation)
        self.decision_id = decision.decision_id
        self.step += 1
        self.total += float(reward)
        if terminated:
            return float(reward), "terminated"
        return float(reward), "truncated" if truncated else None


def _flat(observation: Any) -> list[float]:
    return [float(one) for one in np.asarray(observation).ravel()]


class _Game:
    """All tables, and what came out."""

    def __init__(self, client: AsyncClient, demo: EpisodesDemo) -> None:
        self._client = client
        self._demo = demo
        self._started_s = time.perf_counter()
        self.actions = demo.actions
        self.ended: list[Ended] = []
        self.sent = Sent()
        self.latencies_s: list[float] = []
        self.sightings = Sightings()
        self.steps = 0
        self.learned = 0
        self._may_play = asyncio.Event()
        self.seconds = 0.0

    @property
    def average(self) -> float | None:
        """Of the last `_WINDOW` episodes; None while there are fewer."""
        if len(self.ended) < _WINDOW:
            return None
        return float(np.mean([one.total for one in self.ended[-_WINDOW:]]))

    @property
    def is_won(self) -> bool:
        return self._demo.environment == _CARTPOLE and (self.average or 0.0) >= _GOAL

    @property
    def is_over(self) -> bool:
        if self._demo.requests is not None:
            return self.steps >= self._demo.requests
        return self.is_won or time.perf_counter() - self._started_s > _TIME_S

    async def run(self, stage: Stage, ticker: Ticker) -> None:
        """Returns when the game is over and every open episode is sealed."""
        self._started_s = time.perf_counter()
        async with asyncio.TaskGroup() as watched:
            companions = [
                watched.create_task(self._display(stage, ticker)),
                watched.create_task(self._follow_learner()),
            ]
            async with asyncio.TaskGroup() as tables:
                for table in range(_TABLES):
                    tables.create_task(self._play(self._seats(table)))
            self.seconds = time.perf_counter() - self._started_s
            for companion in companions:
                companion.cancel()

    def _seats(self, table: int) -> list[Seat]:
        first = self._demo.seed * _TABLES * _SEATS + table * _SEATS
        seats = []
        for number in range(first, first + _SEATS):
            seat = Seat(gymnasium.make(self._demo.environment), f"seat-{number}")
            seat.begin(seed=number)
            seats.append(seat)
        return seats

    async def _play(self, seats: list[Seat]) -> None:
        """One table. The rewards of a step are reported while the next one is being decided."""
        decisions = await self._decide(seats)
        while True:
            rewards, endings = self._step(seats, decisions)
            feedback = asyncio.gather(self._observe(rewards), *endings)
            await self._let_the_learner_follow()
            if self.is_over:
                break
            decisions, _ = await asyncio.gather(self._decide(seats), feedback)
        await feedback
        # Nobody saw how these would have ended, so no end is made up.
        open_seats = [seat for seat in seats if seat.decision_id is not None]
        await asyncio.gather(*(self._seal(seat, "abandoned") for seat in open_seats))

    async def _decide(self, seats: Sequence[Seat]) -> list[Decision]:
        started_s = time.perf_counter()
        answers = await self._client.act_batch([seat.request(self.actions) for seat in seats])
        answered_s = time.perf_counter()
        self.latencies_s.append(answered_s - started_s)
        decisions = []
        for answer in answers:
            if not isinstance(answer, Decision):
                raise NacreError(f"a step was refused: {answer}")
            self.sightings.saw(answer.model_version, answered_s)
            self.sent.decisions.add(answer.decision_id)
            decisions.append(answer)
        return decisions

    def _step(
        self, seats: Sequence[Seat], decisions: Sequence[Decision]
    ) -> tuple[list[RewardRequest], list[Coroutine[Any, Any, None]]]:
        """Plays one step at every seat; returns what is to be reported."""
        rewards: list[RewardRequest] = []
        endings = []
        for seat, decision in zip(seats, decisions, strict=True):
            reward, ended_as = seat.take(decision)
            self.steps += 1
            rewards.append(_reward(decision.decision_id, reward))
            if ended_as is not None:
                endings.append(self._seal(seat, ended_as))
                self._note(seat)
                seat.begin()
        return rewards, endings

    def _note(self, seat: Seat) -> None:
        # What ends after the goal was reached no longer counts: the other table has stopped playing.
        if not self.is_won:
            at_s = time.perf_counter() - self._started_s
            self.ended.append(Ended(seat.total, at_s, self.steps))

    def _seal(self, seat: Seat, status: EndOfEpisode) -> Coroutine[Any, Any, None]:
        """Says how the seat's episode ended; the last step of a truncated one bootstraps from what was seen."""
        if status != "truncated":
            return self._client.seal_episode(seat.episode_id, status)
        return self._client.seal_episode(
            seat.episode_id,
            status,
            next_observation=seat.observation,
            next_available_actions=self.actions,
        )

    async def _follow_learner(self) -> None:
        """Keeps `learned`, the steps that the newest version has learned from, and lets the play go on."""
        while True:
            newest = (await self._client.versions())[-1]
            self.learned = int(newest.description["experience"])
            if not self._is_ahead or self.is_over:
                self._may_play.set()
            await asyncio.sleep(_ASK_EVERY_S)

    @property
    def _is_ahead(self) -> bool:
        return self.steps - self.learned > _AHEAD

    async def _let_the_learner_follow(self) -> None:
        if self._is_ahead:
            self._may_play.clear()
            await self._may_play.wait()

    async def _observe(self, rewards: list[RewardRequest]) -> None:
        results = await self._client.observe_many(rewards)
        for reward, result in zip(rewards, results, strict=True):
            if result.state == "rejected":
                raise NacreError(f"a reward was refused: {result.problem}")
            value = reward["reward"]
            assert value is not None, "every step has a reward"
            self.sent.rewards[reward["decision_id"], _REWARD_ID] = value

    async def _display(self, stage: Stage, ticker: Ticker) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            stage.stack.tend()
            seconds = time.perf_counter() - self._started_s
            recent = [one.total for one in self.ended[-_WINDOW:]]
            ticker.show(
                int(seconds) if self._demo.requests is None else self.steps,
                f"return {np.mean(recent or [0]):.0f} over {len(recent)}  {len(self.ended)} episodes"
                f"  {self.steps / seconds:.0f} steps/s  {self.sightings.newest}",
            )


def _reward(decision_id: str, reward: float) -> RewardRequest:
    return {"decision_id": decision_id, "reward": reward, "reward_id": _REWARD_ID, "final": True}


# -- what came out ------------------------------------------------------------------------------


def _report(demo: EpisodesDemo, game: _Game, account: Account, check: LogCheck) -> Report:
    average = game.average
    headline: dict[str, float | int | None] = {
        "episodes": len(game.ended),
        "average_return_100": average,
        "seconds": game.seconds,
        "env_steps": game.steps,
        "env_steps_per_s": game.steps / game.seconds,
        "act_p50_ms": percentile_ms(game.latencies_s, 50),
        "act_p99_ms": percentile_ms(game.latencies_s, 99),
        "swaps": game.sightings.swaps,
        "events_lost": check.events_lost,
        "duplicates_counted_twice": check.duplicates_counted_twice,
    }
    return Report(
        title=f"nacre demo: {demo.environment}",
        headline=headline,
        rows=[
            (
                f"average return of the last {_WINDOW} episodes",
                "fewer were played" if average is None else f"{average:.1f}",
            ),
            ("episodes", f"{len(game.ended):,}"),
            ("steps", f"{game.steps:,} at {headline['env_steps_per_s']:.0f}/s"),
            ("playing time", f"{game.seconds:.0f} s"),
            (
                f"act:batch latency, {_SEATS} steps a call",
                f"p50 {headline['act_p50_ms']:.1f} ms, p99 {headline['act_p99_ms']:.1f} ms",
            ),
            ("model swaps", str(game.sightings.swaps)),
            *account_rows(account, check),
        ],
        promises=_promises(demo, game, account, check),
        details={
            "environment": demo.environment,
            "seed": demo.seed,
            "steps_per_act_call": _SEATS,
            **account_details(account),
            "per_episode": [
                {"return": one.total, "at_s": one.at_s, "at_step": one.at_step}
                for one in game.ended
            ],
        },
        chart=_chart(demo.environment, [one.total for one in game.ended]),
    )


def _promises(demo: EpisodesDemo, game: _Game, account: Account, check: LogCheck) -> list[Promise]:
    promises = account_promises(account, check, game.sent)
    if demo.environment != _CARTPOLE or demo.requests is not None:
        return promises
    statement = f"an average return of {_GOAL:g} over {_WINDOW} episodes within five minutes"
    return [Promise(statement, game.is_won), *promises]


def _chart(environment: str, returns: Sequence[float]) -> Chart:
    episodes = list(range(1, len(returns) + 1))
    means = [float(np.mean(returns[end - _WINDOW : end])) for end in episodes[_WINDOW - 1 :]]
    lines = [
        Line("return of one episode", episodes, returns, "points"),
        Line(f"mean of the last {_WINDOW}", episodes[_WINDOW - 1 :], means),
    ]
    if environment == _CARTPOLE:
        lines.append(Line(f"goal: {_GOAL:g}", episodes, [_GOAL] * len(episodes), "dashed"))
    return Chart(f"{environment} over HTTP", "episodes, as they ended", "return", lines)
