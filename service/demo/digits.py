"""`nacre demo`: which of the offered labels belongs to this image?

callers -> POST /v1/act -> an answer
        -> POST /v1/observe, late, out of order, some twice, some never
meanwhile the learner publishes and the API swaps; afterwards every number is accounted for
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from nacre_client import AsyncClient
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
from service.demo.digits_task import Task, make_tasks
from service.demo.lag import LagProbe, Sightings
from service.demo.progress import REFRESH_S, Ticker
from service.demo.report import Promise, Report
from service.demo.stage import Stage, shipped_policy
from service.demo.stats import LEVEL, blocks, finite, mean_interval, percentile_ms

_CALLERS: Final = 12
_THINK_S: Final = 0.05
"""Mean pause of a caller between an answer and its next request: enough that two cores that also run
Redis, API, worker, learner and these callers are busy, but not a queue."""
_REQUESTS: Final = 8_000
_FULL: Final = 6_000
"""From this length on, the reward and the lag are promised: before, there is little to learn from."""
_BLOCK: Final = 500
_LAST: Final = 1_000
_ENOUGH: Final = 0.85
"""Of the best possible."""
_LAG_S: Final = 2.0
_FOLLOW_EVERY: Final = 40
_SETTLE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class _Answered:
    """One decision as the client saw it. `weight`: of uniform play, (1 / actions) / propensity."""

    decision_id: str
    reward: float
    weight: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class DigitsDemo:
    """The default demo."""

    requests: int | None
    seed: int

    def policy(self) -> dict[str, Any]:
        return shipped_policy("digits")

    async def play(self, stage: Stage, console: Console) -> Report:
        """Plays all requests, waits until nothing is pending, checks the log."""
        tasks = make_tasks(self.requests or _REQUESTS, self.seed)
        async with stage.client() as client:
            traffic = _Traffic(client, tasks, self.seed)
            started_s = time.perf_counter()
            with Ticker(console, "digits", len(tasks)) as ticker:
                await traffic.run(stage, ticker)
            seconds = time.perf_counter() - started_s
            account = await settled_account(client, _SETTLE_S)
            check = await check_archive(stage.archive, traffic.sent, account.pending)
        return _report(self, traffic, account, check, seconds)


class _Traffic:
    """Callers who think, ask, and wait for the answer; rewards come when they come."""

    def __init__(self, client: AsyncClient, tasks: Sequence[Task], seed: int) -> None:
        self._client = client
        self._seed = seed
        self.tasks = tasks
        self.answers: dict[int, _Answered] = {}
        self.sent = Sent()
        self.states: Counter[str] = Counter()
        self.sightings = Sightings()
        self.probe = LagProbe(client, self.sightings)
        self.asked_for_s = 0.0

    async def run(self, stage: Stage, ticker: Ticker) -> None:
        """Returns when every answer has come and every reward that will ever come was sent."""
        queue = iter(enumerate(self.tasks))
        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as watched:
            display = watched.create_task(self._display(stage, ticker, started_s))
            async with asyncio.TaskGroup() as feedback:
                async with asyncio.TaskGroup() as callers:
                    for _ in range(_CALLERS):
                        callers.create_task(self._ask_all(queue, feedback))
                self.asked_for_s = time.perf_counter() - started_s
            display.cancel()

    async def _ask_all(
        self, queue: Iterator[tuple[int, Task]], feedback: asyncio.TaskGroup
    ) -> None:
        for number, task in queue:
            await asyncio.sleep(random.expovariate(1 / _THINK_S))
            answered = self.answers[number] = await self._ask(number, task)
            for copy, delay_s in enumerate(task.reports_s):
                is_followed = (
                    copy == 0 and number % _FOLLOW_EVERY == 0 and self._leaves_time(number)
                )
                feedback.create_task(self._report(answered, delay_s, is_followed))

    def _leaves_time(self, number: int) -> bool:
        """Whether traffic goes on long enough for a reward to be seen in an answer."""
        return number < 0.85 * len(self.tasks)

    async def _ask(self, number: int, task: Task) -> _Answered:
        started_s = time.perf_counter()
        decision = await self._client.act(
            task.image, task.actions, decision_id=f"digits-{self._seed}-{number}"
        )
        answered_s = time.perf_counter()
        self.sightings.saw(decision.model_version, answered_s)
        self.sent.decisions.add(decision.decision_id)
        return _Answered(
            decision.decision_id,
            task.reward(decision.action.id),
            1 / (len(task.actions) * decision.propensity),
            answered_s - started_s,
        )

    async def _report(self, answered: _Answered, delay_s: float, is_followed: bool) -> None:
        await asyncio.sleep(delay_s)
        posted_s = time.perf_counter()
        result = await self._client.observe(
            answered.decision_id, answered.reward, reward_id="label", final=True
        )
        self.states[result.state] += 1
        self.sent.rewards[answered.decision_id, "label"] = answered.reward
        if is_followed and result.state == "joined":
            await self.probe.follow(answered.decision_id, posted_s)

    async def _display(self, stage: Stage, ticker: Ticker, started_s: float) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            stage.stack.tend()
            done = len(self.answers)
            rate = done / (self.asked_for_s or time.perf_counter() - started_s)
            recent = [one.reward for one in list(self.answers.values())[-_BLOCK:]]
            lag_s = self.probe.median_s()
            ticker.show(
                done,
                f"reward {np.mean(recent or [0]):.2f}  {rate:.0f}/s  {self.sightings.newest}"
                f"  lag {'?' if lag_s is None else f'{lag_s:.1f} s'}",
            )


# -- what came out ------------------------------------------------------------------------------


def _report(
    demo: DigitsDemo, traffic: _Traffic, account: Account, check: LogCheck, seconds: float
) -> Report:
    tasks = traffic.tasks
    answers = [traffic.answers[number] for number in range(len(tasks))]
    reward = [one.reward for one in answers]
    uniform, best = [task.uniform for task in tasks], [task.best for task in tasks]
    latencies = [one.latency_s for one in answers]
    weight = mean_interval([one.weight for one in answers])
    lag_s = traffic.probe.median_s()
    lags = [lag for lag in traffic.probe.lags_s() if math.isfinite(lag)]
    last_best = sum(best[-_LAST:])
    headline: dict[str, float | int | None] = {
        "reward_last_1000_over_best": sum(reward[-_LAST:]) / last_best if last_best else None,
        "uniform_over_best": sum(uniform[-_LAST:]) / last_best if last_best else None,
        "mean_importance_weight": weight.mean,
        "mean_importance_weight_low": finite(weight.low),
        "mean_importance_weight_high": finite(weight.high),
        "events_lost": check.events_lost,
        "duplicates_counted_twice": check.duplicates_counted_twice,
        "swaps": traffic.sightings.swaps,
        "lag_median_s": lag_s,
        "act_p50_ms": percentile_ms(latencies, 50),
        "act_p99_ms": percentile_ms(latencies, 99),
        "requests": len(tasks),
        "requests_per_s": len(tasks) / traffic.asked_for_s,
        "seconds": seconds,
    }
    return Report(
        title="nacre demo: UCI digits",
        headline=headline,
        rows=_rows(headline, account, check, traffic),
        promises=_promises(headline, account, check, traffic),
        details={
            "seed": demo.seed,
            "importance_weight_interval_level": LEVEL,
            **account_details(account),
            "rewards": {"sent": traffic.states.total(), **traffic.states},
            "lag": {
                "samples": len(traffic.probe.lags_s()),
                "never_served": len(traffic.probe.lags_s()) - len(lags),
                "p90_s": float(np.percentile(lags, 90)) if lags else None,
            },
            "per_500": _per_block(reward, uniform, best, latencies),
        },
        chart=_chart(reward, uniform, best),
    )


def _per_block(
    reward: Sequence[float],
    uniform: Sequence[float],
    best: Sequence[float],
    latencies: Sequence[float],
) -> list[dict[str, float]]:
    return [
        {
            "reward": float(np.mean(reward[at : at + _BLOCK])),
            "uniform": float(np.mean(uniform[at : at + _BLOCK])),
            "best": float(np.mean(best[at : at + _BLOCK])),
            "act_p50_ms": percentile_ms(latencies[at : at + _BLOCK], 50),
            "act_p99_ms": percentile_ms(latencies[at : at + _BLOCK], 99),
        }
        for at in range(0, len(reward), _BLOCK)
    ]


def _rows(
    headline: dict[str, float | int | None],
    account: Account,
    check: LogCheck,
    traffic: _Traffic,
) -> list[tuple[str, str]]:
    states = traffic.states
    return [
        (
            f"reward over best, last {_LAST:,}",
            f"{_text(headline['reward_last_1000_over_best'])} (uniform play: {_text(headline['uniform_over_best'])})",
        ),
        (
            "act latency, as the client saw it",
            f"p50 {headline['act_p50_ms']:.1f} ms, p99 {headline['act_p99_ms']:.1f} ms",
        ),
        (
            "requests",
            f"{headline['requests']:,} at {headline['requests_per_s']:.0f}/s, {_CALLERS} callers",
        ),
        ("model swaps", str(headline["swaps"])),
        (
            "reward to served model, median",
            f"{_text(headline['lag_median_s'], ' s')} ({len(traffic.probe.lags_s())} rewards followed)",
        ),
        (
            "mean importance weight",
            f"{headline['mean_importance_weight']:.3f} ({100 * LEVEL:g} % interval "
            f"{_text(headline['mean_importance_weight_low'])} to {_text(headline['mean_importance_weight_high'])})",
        ),
        (
            "rewards",
            f"{states.total():,} sent = "
            + " + ".join(f"{count:,} {state}" for state, count in states.most_common()),
        ),
        *account_rows(account, check),
    ]


def _promises(
    headline: dict[str, float | int | None],
    account: Account,
    check: LogCheck,
    traffic: _Traffic,
) -> list[Promise]:
    low, high = headline["mean_importance_weight_low"], headline["mean_importance_weight_high"]
    promises = [
        Promise(
            "the logged probabilities are true: the interval of the mean importance weight contains 1",
            low is None or high is None or low <= 1 <= high,
        ),
        *account_promises(account, check, traffic.sent),
    ]
    if len(traffic.tasks) < _FULL:
        return promises
    share, lag_s = headline["reward_last_1000_over_best"], headline["lag_median_s"]
    return [
        Promise(
            f"more than {_ENOUGH} of the best possible reward in the last {_LAST:,} requests",
            share is not None and share > _ENOUGH,
        ),
        Promise(
            f"a reward is in the model that decides within {_LAG_S:g} s (median)",
            lag_s is not None and lag_s < _LAG_S,
        ),
        *promises,
    ]


def _text(value: float | int | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:.3f}{unit}"


def _chart(reward: Sequence[float], uniform: Sequence[float], best: Sequence[float]) -> Chart:
    ends = [min(at + _BLOCK, len(reward)) for at in range(0, len(reward), _BLOCK)]
    return Chart(
        title="UCI digits over HTTP: which of the offered labels is right?",
        x_label="requests",
        y_label=f"average reward per {_BLOCK} requests",
        lines=[
            Line("Nacre", ends, blocks(reward, _BLOCK)),
            Line("uniform play (exact expectation)", ends, blocks(uniform, _BLOCK), "dashed"),
            Line("best possible", ends, blocks(best, _BLOCK), "dashed"),
        ],
    )
