"""The log of a policy as a source: its events, joined and encoded, in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from service.archive.logic import Event
from service.evaluation.sources.account import UNUSABLE, Account, said
from service.evaluation.sources.decided import left_out, read_decided, step_of
from service.evaluation.sources.joined import ALWAYS, Finished, Joining, Kind, Period, place_of
from service.evaluation.sources.rewards import rule_under
from service.evaluation.steps import LoggedStep, RefusedRow
from service.joining.logic import Frame, Taken
from service.policies.config import RewardRule

FrameOf: TypeAlias = Callable[[Taken], Frame | None]


class EventLog(Protocol):
    """Events, oldest first, each once, as often as asked for. `torn`: parts that could not be read so far."""

    @property
    def torn(self) -> Sequence[Path]: ...

    def __iter__(self) -> Iterator[Event]: ...


class LogSource:
    """The finished decisions of one policy, in the order in which they were joined.

    `frame_of`: how a decision was encoded, None if that is not known any more. `feature_schema`: decisions with
    other features are left out. `weights`: rewards are totalled anew from their components. `kind`: our own
    decisions, or those that another system told us of, whose `target` is what we would have done. `total`: about
    how many there are, if that is known.

    Raises:
        EvaluationError: a weight is for an unknown component, or out of range.
    """

    def __init__(
        self,
        events: EventLog,
        frame_of: FrameOf,
        rule: RewardRule,
        feature_schema: str,
        *,
        kind: Kind = "decision",
        period: Period = ALWAYS,
        weights: Mapping[str, float] | None = None,
        total: int | None = None,
    ) -> None:
        self.total = total
        self._events = events
        self._frame_of = frame_of
        self._rule = rule if weights is None else rule_under(rule, weights)
        self._is_reweighed = weights is not None
        self._feature_schema = feature_schema
        self._kind: Kind = kind
        self._period = period
        self._account = Account()

    @property
    def refused(self) -> list[RefusedRow]:
        return self._account.refused

    @property
    def skipped(self) -> Mapping[str, int]:
        return self._account.skipped

    def __iter__(self) -> Iterator[LoggedStep]:
        account = self._account = Account()
        joining = Joining(self._kind, self._period, self._rule, account)
        for finished in self._finished(joining, account):
            step = self._step(finished, account)
            if step is not None:
                yield step
        if joining.waiting:
            account.skipped["waiting_for_reward"] += joining.waiting
        for path in self._events.torn:
            why = "it is damaged, and the events in it are missing; restore it from a backup"
            account.refuse(path.name, why, "damaged_part")

    def _finished(self, joining: Joining, account: Account) -> Iterator[Finished]:
        torn = 0
        for event in self._events:
            if joining.is_over(event):
                return
            if len(self._events.torn) > torn:
                torn = len(self._events.torn)
                joining.tear()
            try:
                finished = joining.after(event)
            except msgspec.MsgspecError as error:
                account.refuse(place_of(event), f"the {event.type} event cannot be read: {error}")
            else:
                if finished is not None:
                    yield finished

    def _step(self, finished: Finished, account: Account) -> LoggedStep | None:
        if finished.joined.reward is None:
            account.skip(finished.joined.outcome)
            return None
        try:
            decided = read_decided(finished.decision.body)
            if reason := left_out(decided, self._feature_schema):
                account.skip(reason)
                return None
            frame = self._frame_of(decided.taken)
            if frame is None:
                raise ValueError(
                    f"its configuration {decided.taken.config_hash} or its catalog revision"
                    f" {decided.taken.catalog} is no longer kept; evaluate a later period"
                )
            return step_of(decided, finished, frame, self._rule, is_reweighed=self._is_reweighed)
        except UNUSABLE as error:
            account.refuse(place_of(finished.decision), said(error))
            return None
