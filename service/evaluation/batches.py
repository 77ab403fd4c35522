"""Cuts a log into batches of whole units: episodes, or single decisions.

Nothing more of a log is in memory than one batch and the episodes that have not ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from service.evaluation.errors import EvaluationError
from service.evaluation.steps import LoggedStep, RefusedRow, Source
from service.evaluation.targets import is_continuous

KEPT_REFUSALS: Final = 100
_SIZE: Final = 2000
"""Decisions in a batch: columns of a few megabytes, some tenths of a second of work."""
_OPEN: Final = 1_000_000
"""Steps of episodes that have not ended."""
_FORGOTTEN_MS: Final = 86_400_000
"""An episode without a step for a day is over, without an end."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`units`: steps in order, of each. `read`: rows of the log up to here."""

    number: int
    units: list[list[LoggedStep]]
    read: int


@dataclass(slots=True)
class Refusals:
    """Rows that were left out: the first hundred, and how many for which reason."""

    rows: list[RefusedRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, row: str, why: str, reason: str, count: int = 1) -> None:
        self.counts[reason] += count
        if len(self.rows) < KEPT_REFUSALS:
            self.rows.append(RefusedRow(row, why))

    def extend(self, other: Refusals) -> None:
        self.counts.update(other.counts)
        self.rows += other.rows[: KEPT_REFUSALS - len(self.rows)]


class Log:
    """A source, cut into batches. `first`: its first step, None if there is none.

    for batch in Log(source).batches(by_episode=True, refusals=refusals): ...
    """

    def __init__(self, source: Source, size: int = _SIZE) -> None:
        self._steps = iter(source)
        self._size = size
        self.first = next(self._steps, None)

    def batches(self, *, by_episode: bool, refusals: Refusals) -> Iterator[Batch]:
        """Can be asked for once.

        Raises:
            EvaluationError: too many episodes do not end.
        """
        assert self.first is not None, "an empty log has no batches"
        gathered, waiting, decisions = _Episodes(refusals), list[list[LoggedStep]](), 0
        read, number = 0, 0
        for step in chain((self.first,), self._steps):
            read += 1
            if problem := _unlike(self.first, step):
                refusals.add(step.row, problem, "unlike_the_others")
                continue
            over = gathered.with_step(step) if by_episode else [[step]]
            waiting.extend(over)
            decisions += sum(map(len, over))
            if decisions >= self._size:
                yield Batch(number, waiting, read)
                waiting, decisions, number = [], 0, number + 1
        waiting += gathered.rest()
        if waiting:
            yield Batch(number, waiting, read)


def _unlike(first: LoggedStep, step: LoggedStep) -> str:
    """Why a step cannot stand beside the first one; "" if it can."""
    if is_continuous(first) != is_continuous(step):
        return "the log begins with another kind of action; evaluate the two kinds apart"
    for what, one, other in (
        ("its state", first.state.shape[0], step.state.shape[0]),
        ("each of its actions", first.actions.features.shape[1], step.actions.features.shape[1]),
    ):
        if one != other:
            return f"{what} has {other} numbers, and {one} where the log begins; evaluate both parts apart"
    return ""


class _Episodes:
    """Episodes of which more may come."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._open: dict[str, list[LoggedStep]] = {}
        self._steps = 0

    def with_step(self, step: LoggedStep) -> list[list[LoggedStep]]:
        """The episodes that are over now."""
        if step.place is None:
            return [[step]]
        # Taken out and put back: the one without a step for longest comes first.
        steps = self._open.pop(step.place.episode_id, [])
        steps.append(step)
        self._open[step.place.episode_id] = steps
        self._steps += 1
        if self._steps > _OPEN:
            raise EvaluationError(
                f"more than {_OPEN:,} steps belong to episodes that have not ended; "
                "evaluate a shorter time with --since and --until"
            )
        over = [step.place.episode_id] if _is_complete(steps) else []
        return self._closed(over + self._forgotten(step.at_ms))

    def rest(self) -> list[list[LoggedStep]]:
        return self._closed(list(self._open))

    def _forgotten(self, now_ms: int) -> list[str]:
        oldest = next(iter(self._open), None)
        if oldest is None or self._open[oldest][-1].at_ms > now_ms - _FORGOTTEN_MS:
            return []
        return [oldest]

    def _closed(self, episodes: list[str]) -> list[list[LoggedStep]]:
        whole = []
        for name in dict.fromkeys(episodes):
            steps = sorted(self._open.pop(name), key=_place)
            self._steps -= len(steps)
            if problem := _gap(steps):
                self._refusals.add(
                    f"{steps[0].row} (episode {name})", problem, "incomplete_episode", len(steps)
                )
            else:
                whole.append(steps)
        return whole


def _place(step: LoggedStep) -> int:
    assert step.place is not None, "an episode has places"
    return step.place.step


def _is_complete(steps: list[LoggedStep]) -> bool:
    """Whether the end was seen and nothing before it is missing."""
    ended = [_place(step) for step in steps if step.is_terminated]
    return bool(ended) and len(steps) > max(ended)


def _gap(steps: list[LoggedStep]) -> str:
    """Why an episode, in the order of its steps, cannot be weighed; "" if it can."""
    for expected, step in enumerate(steps):
        if _place(step) != expected:
            what = "is twice in the log" if _place(step) < expected else "is missing"
            place = min(_place(step), expected)
            return f"its step {place} {what}, so how likely the whole was is not known; send every step once"
    return ""
