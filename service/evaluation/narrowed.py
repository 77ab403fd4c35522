"""A log of lines, cut to a period and rewarded anew: what logs of policies do themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from agent_core.features.near_miss import near_miss
from service.evaluation.batches import Refusals
from service.evaluation.sources.joined import Period
from service.evaluation.steps import LoggedStep, RefusedRow, Source


class Narrowed:
    """`weights`: of components, whose sum is the reward; None leaves rewards as they are."""

    def __init__(self, source: Source, period: Period, weights: Mapping[str, float] | None) -> None:
        self._source = source
        self._period = period
        self._weights = weights
        self._own = Refusals()

    @property
    def refused(self) -> list[RefusedRow]:
        everything = Refusals(list(self._source.refused))
        everything.extend(self._own)
        return everything.rows

    @property
    def skipped(self) -> Mapping[str, int]:
        return Counter(self._source.skipped) + self._own.counts

    @property
    def total(self) -> int | None:
        return self._source.total

    def __iter__(self) -> Iterator[LoggedStep]:
        self._own = Refusals()
        for step in self._source:
            if not self._period.has(step.at_ms):
                self._own.counts["out_of_period"] += 1
                continue
            problem = "" if self._weights is None else _problem(step, self._weights)
            if problem:
                self._own.add(step.row, problem, "refused")
            else:
                yield step if self._weights is None else _rewarded(step, self._weights)


def _problem(step: LoggedStep, weights: Mapping[str, float]) -> str:
    if not step.components:
        return "it has no components to weigh; add `components`, or evaluate its reward without weights"
    unknown = next((name for name in step.components if name not in weights), None)
    if unknown is None:
        return ""
    hint = near_miss(unknown, weights) or "give it a weight, which may be 0"
    return f"its component `{unknown}` has no weight; {hint}"


def _rewarded(step: LoggedStep, weights: Mapping[str, float]) -> LoggedStep:
    reward = sum(weights[name] * amount for name, amount in step.components.items())
    return replace(step, reward=float(reward))
