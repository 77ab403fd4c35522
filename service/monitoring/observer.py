"""Watches one policy inside the worker.

    log -> windows -> readings -> alarms -> a trip, or a recovery, or a candidate that is asked for

What it decides it decides again after a crash, from the same sums; a trip that is in force is not begun twice,
because the head is compared with what was seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from service import metrics
from service.decisions.ids import new_id
from service.decisions.records import decode_record
from service.following.observer import LogEvent, Observer
from service.joining.frames import Frames
from service.joining.joiner import Watched
from service.monitoring import gauges, views
from service.monitoring.encoding import encoded
from service.monitoring.judge import Alarm, AlarmChange, changes
from service.monitoring.kept import read_kept
from service.monitoring.references import Collector
from service.monitoring.repository import MonitoringRepository
from service.monitoring.retrainer import Retrainer
from service.monitoring.rows import sample_of
from service.monitoring.watching import Verdict, Watching
from service.policies.head import Trip, read_trip
from service.policies.repository import PolicyMeta, PolicyRepository
from service.replay.repository import ReplayRepository
from service.trips import runner
from service.trips.constraints import TooMuch
from service.trips.logic import recovery_of, stand_in, trip_of
from service.webhooks import Announce

log = structlog.get_logger(__name__)

NAME: Final = "monitoring"
"""Under which the follower keeps what was summed, and who trips and recovers policies by rule."""
_LOOK_MS: Final = 250
"""Between two looks: a trip begins within half a second of the event that shows it."""
_TELL_MS: Final = 1_000


class Monitors:
    """Opens the monitor of each policy."""

    def __init__(self, client: Redis, announce: Announce) -> None:
        self._policies = PolicyRepository(client)
        self._frames = Frames(self._policies)
        self._monitoring = MonitoringRepository(client)
        self._replay = ReplayRepository(client)
        self._retrainer = Retrainer(client, announce)
        self._announce = announce

    def open(self, policy: Watched, state: bytes) -> Observer | None:
        """The monitor of `policy` as it is declared now."""
        gauges.forget_evidence(policy.keys.policy)
        watching = _watching(policy, state)
        return Monitor(
            watching,
            self._policies,
            self._frames,
            self._monitoring,
            self._replay,
            self._retrainer,
            self._announce,
        )


def _watching(policy: Watched, state: bytes) -> Watching:
    try:
        return Watching(policy.config, read_kept(state, policy.config))
    except (KeyError, ValueError) as error:  # sums of another version of this program
        log.warning("watching_begins_anew", policy=policy.keys.policy, why=str(error))
        return Watching(policy.config, read_kept(b"", policy.config))


class Monitor:
    """An `Observer` of one policy's log."""

    def __init__(
        self,
        watching: Watching,
        policies: PolicyRepository,
        frames: Frames,
        monitoring: MonitoringRepository,
        replay: ReplayRepository,
        retrainer: Retrainer,
        announce: Announce,
    ) -> None:
        self._watching = watching
        self._policies = policies
        self._frames = frames
        self._monitoring = monitoring
        self._replay = replay
        self._retrainer = retrainer
        self._announce = announce
        self._collector: Collector | None = None
        self._violations: dict[str, int] = {
            name: one.violations for name, one in watching.kept.evidence.items()
        }
        self._looked_ms = 0
        self._told_ms = 0

    def take(self, events: Sequence[LogEvent]) -> None:
        self._watching.take(events)

    def state(self) -> bytes:
        return self._watching.state()

    async def act(self, policy: Watched, now_ms: int) -> None:
        """One look, if it is time for it: by the clock, or because a backlog is read faster than it goes."""
        gauges.count_joined(policy.keys.policy, self._watching.drain())
        if now_ms < self._looked_ms + _LOOK_MS and not self._watching.is_behind:
            return
        self._looked_ms = now_ms
        meta = await self._policies.meta(policy.keys)
        if meta is not None:
            await self._look(policy, meta, now_ms)

    async def _look(self, policy: Watched, meta: PolicyMeta, now_ms: int) -> None:
        watching, trip = self._watching, read_trip(meta.trip)
        before = watching.drain_alarms()
        watching.follow_head(meta.lineage, trip, now_ms)
        if watching.kept.is_to_forget:
            await self._monitoring.forget_reference(policy.keys, meta.lineage)
            watching.forget()
            self._collector = None
        changed = changes(before, watching.alarms, now_ms)
        collector = await self._collect(policy)
        verdicts = await self._judge(policy, collector)
        for verdict in verdicts:
            gauges.show(policy.config, verdict, collector.references)
            changed += changes(verdict.before, verdict.after, verdict.window.ended_ms)
        before = watching.alarms
        watching.trip_by_evidence(await self._broken(policy), now_ms)
        changed += changes(before, watching.alarms, now_ms)
        await self._tell(policy, collector, verdicts, changed, now_ms)
        await self._move(policy, meta, trip, now_ms)
        kept = watching.kept
        kept.asked_ms = await self._retrainer.look(
            policy, meta, kept.streak, watching.alarms, kept.asked_ms, now_ms
        )

    # -- looking --------------------------------------------------------------

    async def _collect(self, policy: Watched) -> Collector:
        """What windows are compared with, and the sampled decisions in their windows."""
        watching, lineage = self._watching, self._watching.kept.lineage
        if self._collector is None or self._collector.lineage != lineage:
            self._collector = Collector(self._monitoring, self._replay, policy.keys, lineage)
            await self._collector.load(watching)
        collector = self._collector
        await collector.take_made(policy.config)
        watching.use(collector.references)
        samples = list(watching.kept.pending)
        if samples:
            observations = await encoded(self._frames, policy.keys, samples)
            await collector.add_states(policy.config, samples, observations)
            watching.absorb(samples, observations)
        return collector

    async def _judge(self, policy: Watched, collector: Collector) -> list[Verdict]:
        known = dataclasses.replace(collector.references)
        verdicts = self._watching.judge(collector.references)
        await collector.freeze(known, self._watching.parts)
        return verdicts

    async def _broken(self, policy: Watched) -> list[TooMuch]:
        """Hard limits that decisions of the judged arm broke."""
        waiting = self._watching.kept.too_much
        if not waiting:
            return []
        ids = [one.decision_id for one in waiting]
        records = await self._monitoring.records(policy.keys, ids)
        self._watching.kept.too_much = []
        return [
            one
            for one, record in zip(waiting, records, strict=True)
            if record is not None and self._is_judged(record)
        ]

    def _is_judged(self, record: bytes) -> bool:
        try:
            sample = sample_of(decode_record(record), 0)
        except msgspec.MsgspecError:
            return False  # the joiner tells of it
        made_ms = decode_record(record).made_ms
        return self._watching.is_judged(sample.arm) and made_ms >= self._watching.kept.since_ms

    # -- telling --------------------------------------------------------------

    async def _tell(
        self,
        policy: Watched,
        collector: Collector,
        verdicts: Sequence[Verdict],
        changed: Sequence[AlarmChange],
        now_ms: int,
    ) -> None:
        watching, name = self._watching, policy.keys.policy
        gauges.show_alarms(name, watching.alarms, changed)
        gauges.show_evidence(policy.config, watching.kept.evidence)
        gauges.count_violations(name, self._violations, watching.kept.evidence)
        self._violations = {n: one.violations for n, one in watching.kept.evidence.items()}
        metrics.FALLBACK_ACTIVE.labels(name).set(watching.kept.arm == "fallback")
        for event in watching.drain_moves():
            gauges.count_move(name, event)
            kind = "trip.began" if event.what == "trip" else "trip.ended"
            self._announce(kind, name, msgspec.to_builtins(event))
        if not verdicts and not changed and now_ms < self._told_ms + _TELL_MS:
            return
        self._told_ms = now_ms
        view = views.status_of(policy.config, watching, collector.references, now_ms)
        windows = [views.window_of(watching.kept.arm, verdict) for verdict in verdicts]
        kept = 2 * policy.config.monitoring.kept  # of either kind
        await self._monitoring.report(policy.keys, view, windows, changed, kept)
        for change in changed:
            self._tell_change(name, change)

    def _tell_change(self, policy: str, change: AlarmChange) -> None:
        kind = "alarm.raised" if change.level else "alarm.ended"
        log.warning(
            "alarm_changed", policy=policy, signal=change.signal, level=change.level, why=change.why
        )
        self._announce(kind, policy, msgspec.to_builtins(change))

    # -- moving ---------------------------------------------------------------

    async def _move(
        self, policy: Watched, meta: PolicyMeta, trip: Trip | None, now_ms: int
    ) -> None:
        rule, alarms = policy.config.trips, self._watching.alarms
        if trip is None:
            previous = stand_in(meta.previous, policy.quarantined)
            new = trip_of(alarms, rule, previous, new_id(), now_ms)
            if new is not None:
                await runner.trip(self._policies, policy.keys, meta, new, NAME)
            return
        healthy = alarms.get(trip.signal, Alarm()).healthy
        why = recovery_of(trip, rule, healthy, now_ms)
        if why:
            await runner.recover(
                self._policies,
                policy.keys,
                meta,
                trip,
                who=NAME,
                how="rule",
                why=why,
                now_ms=now_ms,
            )
