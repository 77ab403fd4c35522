"""What the log says of the rollout under way, as sums that are kept and gone on from. No Redis, no clock.

The log itself tells when a rollout began and took a step, so whoever reads it from a kept state has the same sums
as whoever never stopped. Arms are summed for each step apart, by when a decision was made: reward that comes after
the step counts in it all the same, and arms are never pooled over steps of different shares.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import numpy as np
import structlog
from msgspec import Struct

from agent_core.monitoring.moments import ColumnMoments
from service.following.observer import LogEvent
from service.joining.logic import BASELINE_ARM, JoinedEvent
from service.policies.head import Rollout

log = structlog.get_logger(__name__)

METRICS: Final = ("reward", "cost", "latency")
"""Columns of a row: reward, cost less than 0, and milliseconds less than 0, so that more is better in each."""
_VERSIONS: Final = 64
"""Versions that are remembered: those that made decisions last, and those that were published last."""


class RolloutNote(Struct, frozen=True, kw_only=True):
    """What the audit and the log say of a move, beside who and why. `to`: the stage that was reached. `rewards`: of
    the log so far; where an evaluation was asked for, those that it has. `numbers`: what the move rests on."""

    to: str
    rollout_id: str
    candidate: int
    step: int = 0
    share: float = 0.0
    since_ms: int = 0
    asked: Literal["", "evaluation", "approval"] = ""
    rewards: int = 0
    numbers: dict[str, float] = {}


class _Event(Struct, frozen=True):
    """The part of a `PolicyEvent` that is read here."""

    detail: RolloutNote


class _Version(Struct, frozen=True):
    """The part of a version's description that is read here."""

    version: int


class ArmSums(Struct, array_like=True):
    """Sums of one arm: `mean` and `scatter` of each of METRICS, see `ColumnMoments`."""

    count: int = 0
    mean: list[float] = []
    scatter: list[float] = []

    def add(self, row: Sequence[float]) -> None:
        """Takes one decision in (Welford 1962)."""
        if not self.count:
            self.mean, self.scatter = [0.0] * len(row), [0.0] * len(row)
        self.count += 1
        for at, value in enumerate(row):
            apart = value - self.mean[at]
            self.mean[at] += apart / self.count
            self.scatter[at] += apart * (value - self.mean[at])

    def moments(self) -> ColumnMoments:
        return ColumnMoments(self.count, np.array(self.mean), np.array(self.scatter))


class StepSums(Struct, array_like=True):
    """Both arms of one canary step, of decisions made from `since_ms` on."""

    since_ms: int
    canary: ArmSums
    live: ArmSums


class VersionSums(Struct, array_like=True):
    """Of one version where it decided for itself: how many rewards, and their sum."""

    count: int = 0
    total: float = 0.0


class Publication(Struct, array_like=True, frozen=True):
    """What the log held when a version was published: `rewards`, and those of `live`, which decided then."""

    rewards: int
    live: int
    count: int
    total: float


class Kept(Struct, array_like=True):
    """All that is known of the log. `rewards`: decisions whose reward is known; `asked_at`: how many that were when
    an evaluation was asked for. `newest`: the highest version; `tried`: the highest that ever set out. `live`:
    what decided last."""

    rollout_id: str = ""
    candidate: int = 0
    to: str = ""
    rewards: int = 0
    asked_at: int = 0
    newest: int = 0
    tried: int = 0
    live: int = 0
    steps: list[StepSums] = []
    versions: dict[int, VersionSums] = {}
    published: dict[int, Publication] = {}


_joined = msgspec.msgpack.Decoder(JoinedEvent).decode
_event = msgspec.json.Decoder(_Event).decode
_version = msgspec.json.Decoder(_Version).decode
_encode = msgspec.msgpack.Encoder().encode
_kept = msgspec.msgpack.Decoder(Kept).decode


class RolloutSums:
    """Takes the log of one policy in; see `service.following.observer.Observer`."""

    def __init__(self, state: bytes = b"") -> None:
        self.kept = _read(state)

    def state(self) -> bytes:
        return _encode(self.kept)

    def take(self, events: Sequence[LogEvent]) -> None:
        for event in events:
            if event.type == "joined":
                self._join(_joined(event.body))
            elif event.type == "rollout":
                self._note(_event(event.body).detail)
            elif event.type == "version":
                self._publish(_version(event.body).version)

    def _join(self, joined: JoinedEvent) -> None:
        if joined.reward is None or joined.arm not in ("live", "canary", BASELINE_ARM):
            return
        if joined.outcome == "not_learned":
            return  # the policy was only asked to write down what somebody else decided
        kept = self.kept
        kept.rewards += 1
        sums = kept.versions.pop(joined.model_version, None) or VersionSums()
        sums.count += 1
        sums.total += joined.reward
        kept.versions[joined.model_version] = sums
        _forget_first(kept.versions)
        if joined.arm != "canary":
            kept.live = joined.model_version
        if joined.arm == BASELINE_ARM:
            return  # the live version only watched: what it is compared with by the gate, but no arm of a canary
        step = self._step_of(joined.made_ms)
        if step is not None and (joined.arm == "canary") == (
            joined.model_version == kept.candidate
        ):
            arm = step.canary if joined.arm == "canary" else step.live
            arm.add((joined.reward, -joined.cost, -joined.took_us / 1000))

    def _step_of(self, made_ms: int) -> StepSums | None:
        steps = self.kept.steps
        at = bisect_right(steps, made_ms, key=lambda one: one.since_ms) - 1
        return steps[at] if at >= 0 else None

    def _note(self, note: RolloutNote) -> None:
        kept = self.kept
        if note.rollout_id != kept.rollout_id:
            kept.rollout_id, kept.candidate = note.rollout_id, note.candidate
            kept.steps, kept.asked_at = [], 0
        kept.to, kept.tried = note.to, max(kept.tried, note.candidate)
        if note.asked == "evaluation":
            kept.asked_at = note.rewards
        elif note.to == "canary":
            kept.steps.append(StepSums(note.since_ms, ArmSums(), ArmSums()))
        elif note.to in ("live", "retired"):
            kept.candidate = 0

    def _publish(self, version: int) -> None:
        kept = self.kept
        kept.newest = max(kept.newest, version)
        live = kept.versions.get(kept.live, VersionSums())
        kept.published[version] = Publication(kept.rewards, kept.live, live.count, live.total)
        _forget_first(kept.published)

    # -- what is asked of it ------------------------------------------------------------------------

    def steps(self, rollout: Rollout) -> list[StepSums]:
        """The steps of `rollout`, none where the log is not read up to its beginning."""
        return self.kept.steps if self.kept.rollout_id == rollout.rollout_id else []

    def rewards_since(self, version: int) -> int:
        """About how many rewards decisions have that were made after `version` was."""
        return self.kept.rewards - self._publication(version).rewards

    def grown(self, version: int) -> float:
        """How many times as many these are as when an evaluation was asked for; infinite before that."""
        before = self.kept.asked_at - self._publication(version).rewards
        return self.rewards_since(version) / before if before > 0 else float("inf")

    def mean_of(self, live: int, candidate: int) -> tuple[float, int]:
        """Mean reward of version `live`, and of how many, since `candidate` was published: rewards may change with
        time, and the candidate is evaluated on this time too."""
        sums, then = self.kept.versions.get(live, VersionSums()), self._publication(candidate)
        count, total = sums.count, sums.total
        if then.live == live:
            count, total = count - then.count, total - then.total
        return (total / count if count else 0.0), count

    def _publication(self, version: int) -> Publication:
        return self.kept.published.get(version, Publication(0, 0, 0, 0.0))


def _read(state: bytes) -> Kept:
    """What another worker kept; nothing, if another Nacre kept it in a form that this one does not know."""
    try:
        return _kept(state) if state else Kept()
    except msgspec.MsgspecError as error:
        log.warning("rollout_sums_unreadable", error=str(error), action="beginning from nothing")
        return Kept()


def _forget_first(known: dict[int, VersionSums] | dict[int, Publication]) -> None:
    if len(known) > _VERSIONS:
        del known[next(iter(known))]
