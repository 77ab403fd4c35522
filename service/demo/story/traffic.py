"""Callers that never stop, in a world that can be spoiled while they ask."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from nacre_client import AsyncClient
from sklearn.datasets import load_digits

from service.demo.account import Sent
from service.demo.errors import DemoError
from service.demo.progress import REFRESH_S, Ticker
from service.demo.stage import Stage

_CALLERS: Final = 12
_THINK_S: Final = 0.06
_DELAY_S: Final = 0.05
_SUBJECTS: Final = 5_000
_MOST: Final = 10
_RECENT: Final = 300


@dataclass(frozen=True, slots=True)
class Answered:
    """One decision as its caller saw it. `is_right`: whether the label was the right one, whatever the feed then
    said. `weight`: of uniform play, (1 / actions) / propensity."""

    at_s: float
    arm: str
    reason: str
    why: str
    model_version: str
    is_right: float
    weight: float


@dataclass(frozen=True, slots=True)
class _Begun:
    """A chapter, and the answer that was its first."""

    title: str
    answer: int
    at_s: float


class Traffic:
    """`shown`: which of the ten classes the world shows; all of them, or a few for a drift. `is_feed_broken`:
    every reward is reported as 0."""

    def __init__(self, client: AsyncClient, seed: int) -> None:
        self._client = client
        self._generator = np.random.default_rng(seed)
        pixels, labels = load_digits(return_X_y=True)
        self._images = (pixels / 16).tolist()
        self._labels: list[int] = labels.tolist()
        self._number = 0
        self._seed = seed
        self.shown: tuple[int, ...] = tuple(range(10))
        self.is_feed_broken = False
        self.answers: list[Answered] = []
        self.sent = Sent()
        self.chapters: list[_Begun] = []

    # -- what chapters ask ------------------------------------------------------------------------

    def begin(self, number: int, title: str) -> None:
        """A chapter begins."""
        self.chapters.append(_Begun(title, len(self.answers), time.perf_counter()))

    def since(self, answer: int) -> list[Answered]:
        """The answers from number `answer` on."""
        return self.answers[answer:]

    def recent_share(self) -> float:
        """How many of the newest answers were right."""
        return float(np.mean([one.is_right for one in self.answers[-_RECENT:]] or [0.0]))

    async def more(self, count: int) -> list[Answered]:
        """Waits for `count` more answers, and gives them."""
        first = len(self.answers)
        await until(lambda: len(self.answers) >= first + count, f"{count} answers", 120.0)
        return self.answers[first : first + count]

    def chapters_told(self) -> list[dict[str, Any]]:
        """Each chapter with its seconds and its share of right answers."""
        ends = [*(one.answer for one in self.chapters[1:]), len(self.answers)]
        return [
            {
                "chapter": one.title,
                "decisions": end - one.answer,
                "right": float(
                    np.mean([a.is_right for a in self.answers[one.answer : end]] or [0])
                ),
            }
            for one, end in zip(self.chapters, ends, strict=True)
        ]

    # -- what callers do --------------------------------------------------------------------------

    @asynccontextmanager
    async def flowing(self, stage: Stage, ticker: Ticker) -> AsyncIterator[None]:
        """Callers ask until the block is left, and every reward that was owed is sent."""
        stop = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as feedback, asyncio.TaskGroup() as callers:
                for _ in range(_CALLERS):
                    callers.create_task(self._ask_on(stop, feedback))
                display = callers.create_task(self._display(stage, ticker))
                try:
                    yield
                finally:
                    stop.set()
                    display.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def _ask_on(self, stop: asyncio.Event, feedback: asyncio.TaskGroup) -> None:
        while not stop.is_set():
            await asyncio.sleep(random.expovariate(1 / _THINK_S))
            feedback.create_task(self._report(*await self._ask()))

    async def _ask(self) -> tuple[str, float]:
        number, self._number = self._number, self._number + 1
        at = self._drawn()
        label, actions = str(self._labels[at]), self._offered(self._labels[at])
        decision = await self._client.act(
            self._images[at],
            actions,
            decision_id=f"story-{self._seed}-{number}",
            subject=f"subject-{self._generator.integers(_SUBJECTS)}",
        )
        is_right = float(decision.action.id == label)
        assignment = decision.assignment
        self.answers.append(
            Answered(
                time.perf_counter(),
                assignment.arm if assignment else "live",
                decision.reason,
                decision.reasons_detail.get("fallback", ""),
                decision.model_version,
                is_right,
                1 / (len(actions) * decision.propensity),
            )
        )
        self.sent.decisions.add(decision.decision_id)
        return decision.decision_id, is_right

    def _drawn(self) -> int:
        while True:
            at = int(self._generator.integers(len(self._images)))
            if self._labels[at] in self.shown:
                return at

    def _offered(self, label: int) -> list[str]:
        size = int(self._generator.integers(2, _MOST + 1))
        others = [int(one) for one in self._generator.permutation(10) if one != label]
        chosen = [label, *others[: size - 1]]
        return [str(chosen[at]) for at in self._generator.permutation(len(chosen))]

    async def _report(self, decision_id: str, is_right: float) -> None:
        await asyncio.sleep(_DELAY_S)
        told = 0.0 if self.is_feed_broken else is_right
        await self._client.observe(decision_id, told, reward_id="label", final=True)
        self.sent.rewards[decision_id, "label"] = told

    async def _display(self, stage: Stage, ticker: Ticker) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            stage.stack.tend()
            if self.chapters and self.answers:
                newest = self.answers[-1]
                ticker.show(
                    len(self.chapters) - 1,
                    f"{self.chapters[-1].title}: right {self.recent_share():.2f}, "
                    f"{len(self.answers):,} decisions, {newest.model_version}, {newest.arm}",
                )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; task groups wrap even what the block itself raised."""
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


async def until(is_true: Callable[[], Any], what: str, within_s: float) -> None:
    """Waits for something of this process.

    Raises:
        DemoError: it did not happen in time.
    """
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            raise DemoError(f"waited {within_s:g} s for {what}")
        await asyncio.sleep(0.05)
