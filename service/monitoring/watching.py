"""One policy as it is watched: events in, windows, alarms. No Redis, no clock.

watching.take(events)                       outcomes into windows, a sample of decisions put aside
watching.absorb(samples, observations)      the sample into windows, once it is encoded
verdicts = watching.judge(references)       closed windows beside the frozen ones
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np
import structlog

from agent_core.monitoring.detectors import EDetector
from agent_core.types import Floats
from service.decisions.records import decode_record
from service.feedback.ledger import decode_entry
from service.feedback.logic import RewardEvent
from service.following.observer import LogEvent
from service.joining.logic import JoinedEvent
from service.monitoring.judge import Alarm, Need, judged, needs_of, recovered, silent_in, tripped
from service.monitoring.kept import Kept, encode_kept
from service.monitoring.packing import Sums
from service.monitoring.readings import Reading, finite
from service.monitoring.rows import Outcome, Sample, Seen, sample_of
from service.monitoring.sampling import Budget
from service.monitoring.signals import Signal
from service.monitoring.signals.actions import TakenActions
from service.monitoring.signals.constraints import Constraints
from service.monitoring.signals.distribution import Distribution, delay_s_of, reward_of
from service.monitoring.signals.drop import Drop, bet_of
from service.monitoring.signals.exploration import Exploration
from service.monitoring.signals.joins import Joins
from service.monitoring.signals.latency import Latency
from service.monitoring.signals.propensity import Propensity
from service.monitoring.signals.rewards import Rewards
from service.monitoring.signals.states import StateReference, States
from service.monitoring.signals.value_error import ValueErrors
from service.monitoring.windows import PackedWindow, Series, Window
from service.policies.config import PolicyConfig
from service.policies.head import Trip
from service.policies.schemas import PolicyEvent
from service.trips.constraints import Evidence, TooMuch, after, costs_of, is_broken, too_much
from service.trips.rule import LatencyTrip, RewardTrip

log = structlog.get_logger(__name__)

WindowKind = Literal["outcomes", "decisions"]
_PENDING: Final = 1_000
_WAITING: Final = 20
"""Windows are tens of kilobytes each, and are kept until they are judged."""
_ARMS: Final = {"live": frozenset({"live", ""}), "fallback": frozenset({"fallback"})}
_joined = msgspec.msgpack.Decoder(JoinedEvent).decode
_reward = msgspec.msgpack.Decoder(RewardEvent).decode
_policy_event = msgspec.json.Decoder(PolicyEvent).decode


@dataclass(slots=True)
class References:
    """What windows are compared with; each None while it is collected."""

    outcomes: Window | None = None
    decisions: Window | None = None
    states: StateReference | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """One window that was judged, and the alarms before and after it."""

    kind: WindowKind
    window: Window
    readings: Sequence[Reading]
    before: Mapping[str, Alarm]
    after: Mapping[str, Alarm]


class Watching:
    """See the module. `kept`: from `read_kept`."""

    def __init__(self, config: PolicyConfig, kept: Kept) -> None:
        self._config = config
        self.kept = kept
        self._fresh: list[JoinedEvent] = []
        self._states = States(None, config.monitoring.p_value)
        self._needs = needs_of(config)
        self._silent = silent_in(config)
        rule = config.monitoring
        duration_ms = None if rule.window_s is None else int(rule.window_s * 1000)
        self.outcomes = Series[Outcome](rule.window, duration_ms, rule.least, self._outcome_sums)
        self.decisions = Series[Seen](rule.window, duration_ms, rule.least, self._decision_sums)
        self._restore()

    def _restore(self) -> None:
        kinds = self._kinds()
        self.outcomes.restore(self.kept.outcomes, kinds)
        self.decisions.restore(self.kept.decisions, kinds)
        collecting = self.kept.collecting
        self._collecting = {name: one.window(kinds) for name, one in collecting.items()}
        self._last = self.kept.last.window(kinds) if self.kept.last else None

    def state(self) -> bytes:
        """What `read_kept` takes."""
        self.kept.outcomes, self.kept.decisions = self.outcomes.packed(), self.decisions.packed()
        self.kept.collecting = {n: PackedWindow.of(one) for n, one in self._collecting.items()}
        self.kept.last = PackedWindow.of(self._last) if self._last else None
        return encode_kept(self.kept)

    @property
    def parts(self) -> str:
        """Names what the sums of outcomes are made of: those of other parts cannot be compared with them."""
        names = "\n".join(Rewards.declared(self._config).parts)
        return f"{zlib.crc32(names.encode()):08x}"

    def unpack(self, packed: PackedWindow) -> Window:
        """A window that this policy's signals made.

        Raises:
            KeyError, ValueError: they did not.
        """
        return packed.window(self._kinds())

    # -- signals --------------------------------------------------------------

    def of_outcomes(self) -> list[Signal[Outcome]]:
        config, rule = self._config, self._config.monitoring
        found: list[Signal[Outcome]] = [
            Rewards.declared(config),
            Distribution("reward_sketch", "rewards", reward_of, rule.p_value),
            Distribution("delay_sketch", "delay", delay_s_of, rule.p_value),
            Joins(rule.errors),
            Drop(self.kept.bet),
            Constraints(config.trips.constraints),
        ]
        # What a sequential policy expects is the sum of all rewards that follow, not the next one.
        if "sequential" not in config.agent.policy_learner.capabilities:
            found.append(ValueErrors(rule.errors))
        return found

    def of_decisions(self) -> list[Signal[Seen]]:
        config, rule = self._config, self._config.monitoring
        return [
            self._states,
            TakenActions(rule.p_value),
            Propensity(rule.errors, rule.p_value),
            Exploration(rule.exploration),
            Latency(config.trips.latency or LatencyTrip()),
        ]

    def _kinds(self) -> dict[str, Any]:
        both: Iterable[Any] = (*self.of_outcomes(), *self.of_decisions())
        return {signal.name: signal.kind for signal in both}

    def _outcome_sums(self, rows: Sequence[Outcome]) -> dict[str, Sums]:
        return _sums(self.of_outcomes(), rows)

    def _decision_sums(self, rows: Sequence[Seen]) -> dict[str, Sums]:
        return _sums(self.of_decisions(), rows)

    # -- what arrives ---------------------------------------------------------

    def take(self, events: Sequence[LogEvent]) -> None:
        """Takes in events of the log; what cannot be read is passed over, and told."""
        outcomes: list[Outcome] = []
        for event in events:
            try:
                self._take(event, outcomes)
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("event_not_watched", event_id=str(event.stream_id), why=str(error))
        self.outcomes.add(outcomes)
        self._weigh(outcomes)

    def _take(self, event: LogEvent, outcomes: list[Outcome]) -> None:
        at_ms = event.stream_id.ms
        if event.type == "decision":
            if self.kept.budget.allows(at_ms):
                sample = sample_of(decode_record(event.body), at_ms)
                self.kept.pending = [*self.kept.pending, sample][-_PENDING:]
        elif event.type == "joined":
            joined = _joined(event.body)
            self._fresh.append(joined)
            if self.is_judged(joined.arm) and joined.made_ms >= self.kept.since_ms:
                outcomes.append(Outcome(at_ms, joined))
                # Once more: a reward may come before its decision, and several may be too much only together.
                self._check_limits(event.decision_id, joined.cost, joined.components)
        elif event.type == "trip":
            self._moved(_policy_event(event.body), at_ms, outcomes)
        elif event.type == "monitoring":
            self.kept.is_to_forget = True
        elif event.type == "reward" and self._config.trips.constraints:
            sent = _reward(event.body)
            if sent.op != "retract":  # whose own numbers count for nothing
                entry = decode_entry(sent.entry)
                self._check_limits(event.decision_id, entry.cost, entry.components)

    def _moved(self, move: PolicyEvent, at_ms: int, outcomes: list[Outcome]) -> None:
        self.kept.moves = [*self.kept.moves, move][-_PENDING:]
        is_over = move.what == "recover" and self.kept.arm == "live"
        if is_over and any(one.level == "trip" for one in self.kept.alarms.values()):
            # Tripped and recovered between two looks: the head shows nothing of it.
            self.kept.ended = self._told()
            self.kept.since_ms = at_ms
            self._turn(at_ms, is_recovery=True)
            outcomes.clear()

    def _check_limits(self, decision_id: str, cost: float, parts: Mapping[str, float]) -> None:
        found = too_much(self._config.trips.constraints, decision_id, cost, parts)
        if found:
            self.kept.too_much = [*self.kept.too_much, *found][-_PENDING:]

    def is_judged(self, arm: str) -> bool:
        """Whether `arm` is the one that is judged now: the live one, or the fallback of a tripped policy."""
        return arm in _ARMS[self.kept.arm]

    @property
    def is_behind(self) -> bool:
        """Whether so many windows wait to be judged that the next look should not."""
        return len(self.outcomes.closed) + len(self.decisions.closed) >= _WAITING

    @property
    def alarms(self) -> dict[str, Alarm]:
        """A copy, to compare with later."""
        return dict(self.kept.alarms)

    def drain_alarms(self) -> dict[str, Alarm]:
        """The alarms as others were told them; the look that asks tells what became of them since."""
        before, self.kept.ended = self._told(), {}
        return before

    def _told(self) -> dict[str, Alarm]:
        return self.kept.alarms | self.kept.ended

    def drain_moves(self) -> list[PolicyEvent]:
        """Trips and recoveries since the last call, whoever made them."""
        moves, self.kept.moves = self.kept.moves, []
        return moves

    def drain(self) -> list[JoinedEvent]:
        """The closed decisions that were taken in since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _weigh(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes or self.kept.arm != "live":
            return
        decisions = [(one.joined.cost, one.joined.components) for one in outcomes]
        for name, rule in self._config.trips.constraints.items():
            evidence = self.kept.evidence.get(name, Evidence())
            self.kept.evidence[name] = after(evidence, rule, costs_of(rule, decisions))

    def absorb(self, samples: Sequence[Sample], observations: Sequence[Floats | None]) -> None:
        """Takes in the oldest of `pending`, encoded; None where that cannot be done any more."""
        rows = [
            Seen(sample, observation, self.is_judged(sample.arm))
            for sample, observation in zip(samples, observations, strict=True)
        ]
        self.decisions.add(rows)
        self.kept.pending = self.kept.pending[len(rows) :]

    # -- the head -------------------------------------------------------------

    def follow_head(self, lineage: int, trip: Trip | None, now_ms: int) -> None:
        """Turns to another version line, or to the arm that decides now."""
        if lineage != self.kept.lineage:
            if self.kept.lineage >= 0:
                self._begin_anew()
                self.kept.since_ms = now_ms
            self.kept.lineage = lineage
        arm: Literal["live", "fallback"] = "fallback" if trip else "live"
        if arm != self.kept.arm:
            self.kept.arm = arm
            self.kept.since_ms = trip.at_ms if trip else now_ms
            self._turn(now_ms, is_recovery=trip is None)

    def forget(self) -> None:
        """Begins as for a new version line: all that was summed is of a reference that counts no more."""
        lineage, arm, since_ms = self.kept.lineage, self.kept.arm, self.kept.since_ms
        self._begin_anew()
        self.kept.lineage, self.kept.arm, self.kept.since_ms = lineage, arm, since_ms

    def _begin_anew(self) -> None:
        config = self._config
        self.kept = Kept(
            config.fingerprint,
            Budget(config.monitoring.samples_per_s),
            asked_ms=self.kept.asked_ms,
            moves=self.kept.moves,
        )
        self._states = States(None, config.monitoring.p_value)
        self._restore()

    def _turn(self, now_ms: int, *, is_recovery: bool) -> None:
        """Evidence about one arm says nothing of another, nor of a time before a recovery."""
        self.outcomes.begin_anew()
        self._last = None
        self.kept.evidence, self.kept.too_much = {}, []
        self.kept.detector = (-math.inf, -math.inf)
        alarms = self.kept.alarms
        self.kept.alarms = recovered(alarms, now_ms) if is_recovery else _not_yet_well(alarms)

    def use(self, references: References) -> None:
        """What is summed from now on depends on what is known of the reference."""
        if self._states.reference is not references.states:
            self._states = States(references.states, self._config.monitoring.p_value)
        if self.kept.bet is None:
            frozen = references.outcomes.sums.get("rewards") if references.outcomes else None
            self.kept.bet = bet_of(self._config, frozen)

    # -- judging --------------------------------------------------------------

    def judge(self, references: References) -> list[Verdict]:
        """Judges the closed windows, oldest first. Windows that complete a reference are put into `references`."""
        verdicts = []
        for window in self.outcomes.closed:
            verdicts.append(self._judge("outcomes", window, references.outcomes))
            self._detect(window)
            self._last = window
            self._collect("outcomes", window, references)
        for window in self.decisions.closed:
            verdicts.append(self._judge("decisions", window, references.decisions))
            self._collect("decisions", window, references)
            self._count_drift(verdicts[-1].readings)
        self.outcomes.closed, self.decisions.closed = [], []
        return verdicts

    def _judge(self, kind: WindowKind, window: Window, reference: Window | None) -> Verdict:
        readings = self.readings(kind, window, reference)
        before = dict(self.kept.alarms)
        self.kept.alarms = judged(
            before, readings, self._live_needs(), self._silent, window.ended_ms
        )
        return Verdict(kind, window, readings, before, dict(self.kept.alarms))

    def readings(self, kind: WindowKind, window: Window, reference: Window | None) -> list[Reading]:
        """What all signals say of a window."""
        signals: Iterable[Any] = self.of_outcomes() if kind == "outcomes" else self.of_decisions()
        frozen, before = _sums_in(reference), _sums_in(self._last)
        return [
            msgspec.structs.replace(
                reading, value=finite(reading.value), limit=finite(reading.limit)
            )
            for signal in signals
            if signal.name in window.sums
            for reading in signal.read(
                window.sums[signal.name], frozen.get(signal.name), before.get(signal.name)
            )
        ]

    def _live_needs(self) -> Mapping[str, Need]:
        """A tripped policy does not trip again."""
        return self._needs if self.kept.arm == "live" else {}

    def _collect(self, kind: WindowKind, window: Window, references: References) -> None:
        rule = self._config.monitoring
        known = references.outcomes if kind == "outcomes" else references.decisions
        if known is not None or self.kept.arm != "live":
            return
        collected = self._collecting.get(kind)
        whole = collected.merged(window) if collected else window
        self._collecting[kind] = whole
        if whole.count < (rule.baseline_window if kind == "outcomes" else rule.reference):
            return
        del self._collecting[kind]
        setattr(references, kind, whole)
        self.use(references)

    def _detect(self, window: Window) -> None:
        rule = self._config.trips.reward
        drop = window.sums.get("drop")
        if rule is None or drop is None or self.kept.arm != "live":
            return
        detector = self._detector(rule).after(np.array([drop.log_ratio]))
        self.kept.detector = (detector.log_value, detector.highest)

    def _detector(self, rule: RewardTrip) -> EDetector:
        return EDetector(float(rule.false_after_windows), *self.kept.detector)

    def _count_drift(self, readings: Sequence[Reading]) -> None:
        said = [one for one in readings if one.signal == "states"]
        if said:
            is_drifted = any(one.is_beyond for one in said)
            self.kept.streak = self.kept.streak + 1 if is_drifted else 0

    def trip_by_evidence(self, broken: Sequence[TooMuch], at_ms: int) -> None:
        """Raises what trips at once. `broken`: hard limits that the judged arm broke."""
        if self.kept.arm != "live":
            return
        for signal, reading in (*self._over_budget(), *self._over_limit(broken)):
            alarm = self.kept.alarms.get(signal, Alarm())
            self.kept.alarms[signal] = tripped(alarm, reading, at_ms)

    def _over_budget(self) -> Iterable[tuple[str, Reading]]:
        trips = self._config.trips
        for name, evidence in self.kept.evidence.items():
            rule = trips.constraints[name]
            if is_broken(evidence, rule):
                value = finite(math.exp(evidence.highest))
                yield f"constraint:{name}", _evidence(f"constraint:{name}", value, 1 / rule.alpha)
        if trips.reward is not None and self._detector(trips.reward).is_tripped:
            value = finite(math.exp(self.kept.detector[1]))
            yield "reward", _evidence("reward", value, float(trips.reward.false_after_windows))

    def _over_limit(self, broken: Sequence[TooMuch]) -> Iterable[tuple[str, Reading]]:
        for one in broken:
            limit = self._config.trips.constraints[one.constraint].most
            assert limit is not None
            signal = f"constraint:{one.constraint}"
            yield signal, _beyond(signal, "most", finite(one.cost), limit)


def _sums(signals: Sequence[Signal[Any]], rows: Sequence[Any]) -> dict[str, Sums]:
    found = {signal.name: signal.of(rows) for signal in signals}
    return {name: one for name, one in found.items() if one is not None}


def _sums_in(window: Window | None) -> Mapping[str, Any]:
    return window.sums if window else {}


def _not_yet_well(alarms: Mapping[str, Alarm]) -> dict[str, Alarm]:
    return {name: msgspec.structs.replace(alarm, healthy=0) for name, alarm in alarms.items()}


def _evidence(signal: str, value: float, limit: float) -> Reading:
    return _beyond(signal, "evidence", value, limit)


def _beyond(signal: str, kind: str, value: float, limit: float) -> Reading:
    return Reading(
        signal=signal, kind=kind, value=value, limit=limit, is_beyond=True, is_severe=True
    )
