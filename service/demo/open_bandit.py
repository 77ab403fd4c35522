"""`nacre demo --log open-bandit`: learning from ten thousand decisions that another system made.

    a logged decision -> POST /v1/shadow     what would our policy have done, at that moment?
    what came of it   -> POST /v1/observe    a click, or none
    off-policy: the learner trains on actions that it did not choose

The Open Bandit Dataset was logged by a fashion shop with two policies, uniformly random and Bernoulli
Thompson sampling; see `data/open_bandit/NOTICE`. Both logs are merged in the order of time. Each of our
probabilities is given before the click is known, so what is estimated from them is an honest forecast.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from nacre_client import AsyncClient, NacreError, RewardRequest
from rich.console import Console

from service.archive.parts import read_archive
from service.decisions.records import decode_record
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
from service.demo.open_bandit_data import (
    LOGGERS,
    ROWS_PER_LOGGER,
    Logged,
    read_items,
    read_logged,
)
from service.demo.progress import REFRESH_S, Ticker
from service.demo.report import Promise, Report
from service.demo.stage import Stage, shipped_policy
from service.demo.stats import LEVEL, Interval, blocks, finite, mean_interval, percentile_ms
from service.shadow.schemas import Shadow

NAME: Final = "open-bandit"
_CALLERS: Final = 8
_DECISIONS: Final = 10_000
_PORTION: Final = 25
"""Decisions of one caller before it reports what came of them."""
_BLOCK: Final = 500
_SETTLE_S: Final = 30.0
_REWARD_ID: Final = "click"


@dataclass(frozen=True, slots=True)
class OpenBanditDemo:
    """Replays the logs.

    Raises:
        ValueError: more decisions are asked for than the logs hold.
    """

    requests: int | None

    def __post_init__(self) -> None:
        most = len(LOGGERS) * ROWS_PER_LOGGER
        if (self.requests or 0) > most:
            raise ValueError(f"--requests is {self.requests}; the logs hold {most:,} decisions")

    def policy(self) -> dict[str, Any]:
        return shipped_policy("open_bandit")

    async def play(self, stage: Stage, console: Console) -> Report:
        """Replays all decisions, waits until all are learned from, checks the log."""
        logged = read_logged(self.requests or _DECISIONS)
        async with stage.client() as client:
            await client.put_actions(read_items())
            replay = _Replay(client, logged)
            with Ticker(console, NAME, len(logged)) as ticker:
                await replay.run(stage, ticker)
            account = await settled_account(client, _SETTLE_S)
            learned = await _learned(client, account.outcomes["rewarded"])
            check = await check_archive(stage.archive, replay.sent, account.pending)
        in_log = _probabilities_in_log(stage.archive)
        return _report(_Outcome(replay, account, check, learned, in_log))


@dataclass(frozen=True, slots=True)
class _Judged:
    """What our policy thought of one logged decision. `probability`: of the logged action."""

    probability: float
    agrees: bool
    latency_s: float


class _Replay:
    """Sends the log through the service."""

    def __init__(self, client: AsyncClient, logged: Sequence[Logged]) -> None:
        self._client = client
        self.logged = logged
        self.judged: dict[str, _Judged] = {}
        self.sent = Sent()
        self.sightings = Sightings()
        self.seconds = 0.0

    async def run(self, stage: Stage, ticker: Ticker) -> None:
        """Returns when every decision and what came of it was acknowledged."""
        portions = iter(
            [self.logged[at : at + _PORTION] for at in range(0, len(self.logged), _PORTION)]
        )
        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as watched:
            display = watched.create_task(self._display(stage, ticker, started_s))
            async with asyncio.TaskGroup() as callers:
                for _ in range(_CALLERS):
                    callers.create_task(self._send_all(portions))
            self.seconds = time.perf_counter() - started_s
            display.cancel()

    async def _send_all(self, portions: Iterator[Sequence[Logged]]) -> None:
        for portion in portions:
            for one in portion:
                self.judged[one.decision_id] = await self._judge(one)
            await self._observe(portion)

    async def _judge(self, one: Logged) -> _Judged:
        started_s = time.perf_counter()
        result = await self._client.shadow(
            one.observation,
            _ITEM_IDS,
            one.item_id,
            behavior_policy=one.logger,
            propensity=one.propensity,
            decision_id=one.decision_id,
        )
        answered_s = time.perf_counter()
        self.sightings.saw(result.model_version, answered_s)
        self.sent.decisions.add(result.decision_id)
        return _Judged(result.probability_of_logged_action, result.agrees, answered_s - started_s)

    async def _observe(self, portion: Sequence[Logged]) -> None:
        rewards: list[RewardRequest] = [
            {
                "decision_id": one.decision_id,
                "reward": one.click,
                "reward_id": _REWARD_ID,
                "final": True,
            }
            for one in portion
        ]
        for one, result in zip(portion, await self._client.observe_many(rewards), strict=True):
            if result.state == "rejected":
                raise NacreError(f"a reward was refused: {result.problem}")
            self.sent.rewards[one.decision_id, _REWARD_ID] = one.click

    async def _display(self, stage: Stage, ticker: Ticker, started_s: float) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            stage.stack.tend()
            done = len(self.judged)
            recent = [one.probability for one in list(self.judged.values())[-_BLOCK:]]
            ticker.show(
                done,
                f"P(logged action) {np.mean(recent or [0]):.4f}"
                f"  {done / (time.perf_counter() - started_s):.0f}/s  {self.sightings.newest}",
            )


_ITEM_IDS: Final = [str(number) for number in range(80)]


async def _learned(client: AsyncClient, wanted: int) -> int:
    """Transitions that the newest version has learned from, once these are all, or after a while."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        newest = (await client.versions())[-1]
        learned = int(newest.description["experience"])
        if learned >= wanted or time.monotonic() > deadline:
            return learned
        await asyncio.sleep(0.2)


class _Answer(msgspec.Struct, frozen=True):
    """The part of a logged answer that is checked."""

    shadow: Shadow


_answer = msgspec.json.Decoder(_Answer).decode


def _probabilities_in_log(archive: Path) -> dict[str, float]:
    """What the archived log says, by decision."""
    return {
        event.decision_id: _answer(
            decode_record(event.body).response
        ).shadow.probability_of_logged_action
        for event in read_archive(archive)
        if event.type == "shadow"
    }


# -- what came out ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Everything that is reported. `in_log`: the probability of each logged action, from the log."""

    replay: _Replay
    account: Account
    check: LogCheck
    learned: int
    in_log: dict[str, float]

    @property
    def agreeing(self) -> int:
        """Decisions whose probability in the log is the one that was answered."""
        judged = self.replay.judged
        return sum(self.in_log.get(one) == judged[one].probability for one in judged)


@dataclass(frozen=True, slots=True)
class _Estimate:
    """One log, seen by our policy.

    `weight`: our probabilities over the logged ones; 1 in expectation. Where the logger hardly ever chose
    what we prefer, as `bts` does, a few huge weights that the log does not contain are missing from the
    mean. `value`: clicks a decision under our policy, by those weights.
    """

    clicks: Interval
    weight: Interval
    value: Interval
    effective_samples: float


def _estimate(logged: Sequence[Logged], judged: dict[str, _Judged]) -> _Estimate:
    """Inverse propensity scoring; Horvitz & Thompson 1952."""
    weights = np.array([judged[one.decision_id].probability / one.propensity for one in logged])
    clicks = np.array([one.click for one in logged])
    return _Estimate(
        clicks=mean_interval(clicks.tolist()),
        weight=mean_interval(weights.tolist()),
        value=mean_interval((weights * clicks).tolist()),
        effective_samples=float(weights.sum() ** 2 / np.square(weights).sum()),
    )


def _report(outcome: _Outcome) -> Report:
    replay, judged = outcome.replay, outcome.replay.judged
    estimates = {
        logger: _estimate([one for one in replay.logged if one.logger == logger], judged)
        for logger in LOGGERS
        if any(one.logger == logger for one in replay.logged)
    }
    latencies = [one.latency_s for one in judged.values()]
    random = estimates["random"]
    headline: dict[str, float | int | None] = {
        "decisions": len(judged),
        "probabilities_in_log": outcome.agreeing,
        "mean_probability_of_logged_action": float(
            np.mean([one.probability for one in judged.values()])
        ),
        "match_rate": float(np.mean([one.agrees for one in judged.values()])),
        "mean_importance_weight": random.weight.mean,
        "mean_importance_weight_low": finite(random.weight.low),
        "mean_importance_weight_high": finite(random.weight.high),
        "learned_from": outcome.learned,
        "model_versions": replay.sightings.swaps + 1,
        "events_lost": outcome.check.events_lost,
        "duplicates_counted_twice": outcome.check.duplicates_counted_twice,
        "shadow_p50_ms": percentile_ms(latencies, 50),
        "shadow_p99_ms": percentile_ms(latencies, 99),
        "decisions_per_s": len(judged) / replay.seconds,
        "seconds": replay.seconds,
    }
    return Report(
        title="nacre demo: Open Bandit Dataset, campaign all",
        headline=headline,
        rows=_rows(headline, estimates, outcome),
        promises=_promises(random, outcome),
        details={
            "interval_level": LEVEL,
            "item_features": "those of the random log",
            "logs": {logger: _details(one) for logger, one in estimates.items()},
            **account_details(outcome.account),
        },
        chart=_chart(replay.logged, judged),
    )


def _rows(
    headline: dict[str, float | int | None], estimates: dict[str, _Estimate], outcome: _Outcome
) -> list[tuple[str, str]]:
    rows = [
        ("decisions", f"{headline['decisions']:,} at {headline['decisions_per_s']:.0f}/s"),
        (
            "probability of the logged action, mean",
            f"{headline['mean_probability_of_logged_action']:.4f} (uniform: {1 / len(_ITEM_IDS):.4f})",
        ),
        ("found in the log", f"{outcome.agreeing:,} probabilities, each as it was answered"),
        ("our choice is the logged one", f"{100 * (headline['match_rate'] or 0):.2f} %"),
        ("learned from", f"{outcome.learned:,} transitions"),
        ("model versions that answered", str(headline["model_versions"])),
        (
            "shadow latency, as the client saw it",
            f"p50 {headline['shadow_p50_ms']:.1f} ms, p99 {headline['shadow_p99_ms']:.1f} ms",
        ),
    ]
    for logger, one in estimates.items():
        rows += [
            (
                f"{logger} log: mean importance weight",
                f"{_interval(one.weight)}, effective sample size {one.effective_samples:,.0f}",
            ),
            (f"{logger} log: clicks a decision", _interval(one.clicks, 4)),
            (f"{logger} log: estimate for our policy", _interval(one.value, 4)),
        ]
    rows.append(
        (
            "what the estimates are worth",
            "they check the arithmetic; so few clicks rank no policies",
        )
    )
    return [*rows, *account_rows(outcome.account, outcome.check)]


def _promises(random: _Estimate, outcome: _Outcome) -> list[Promise]:
    sent = outcome.replay.sent
    return [
        Promise(
            "the log holds the probability that our policy gave to each logged action",
            outcome.agreeing == len(sent.decisions) == len(outcome.in_log),
        ),
        Promise(
            "every decision of the others was learned from",
            outcome.learned == len(sent.decisions),
        ),
        Promise(
            "on the uniformly random log, the interval of the mean importance weight contains 1",
            1 in random.weight,
        ),
        *account_promises(outcome.account, outcome.check, sent),
    ]


def _details(one: _Estimate) -> dict[str, Any]:
    return {
        "clicks": _plain(one.clicks),
        "importance_weight": _plain(one.weight),
        "estimated_value": _plain(one.value),
        "effective_samples": one.effective_samples,
    }


def _plain(interval: Interval) -> dict[str, float | None]:
    return {name: finite(value) for name, value in interval._asdict().items()}


def _interval(interval: Interval, digits: int = 3) -> str:
    mean, low, high = (f"{value:.{digits}f}" for value in interval)
    return f"{mean} ({low} to {high})"


def _chart(logged: Sequence[Logged], judged: dict[str, _Judged]) -> Chart:
    lines = []
    for logger in LOGGERS:
        places = [at for at, one in enumerate(logged, 1) if one.logger == logger]
        given = [judged[logged[at - 1].decision_id].probability for at in places]
        ends = [places[min(at + _BLOCK, len(places)) - 1] for at in range(0, len(places), _BLOCK)]
        lines.append(Line(f"{logger} log", ends, blocks(given, _BLOCK)))
    uniform = 1 / len(_ITEM_IDS)
    lines.append(Line("uniform policy", [1, len(logged)], [uniform, uniform], "dashed"))
    return Chart(
        title="Open Bandit Dataset: what our policy thinks of what was shown",
        x_label="logged decisions, in the order of time",
        y_label=f"probability of the logged action, mean of {_BLOCK}",
        lines=lines,
    )
