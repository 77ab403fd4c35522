"""Events in, alarms out, without Redis: what each signal says, when it alarms, and that nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.following.observer import LogEvent
from service.monitoring.kept import read_kept
from service.monitoring.readings import Reading
from service.monitoring.signals.states import StateReference
from service.monitoring.watching import References, Verdict, Watching
from service.policies.config import PolicyConfig, parse_policy
from service.policies.head import Trip
from tests.support.log_events import START_MS, decision, decisions, outcome, outcomes, reward
from tests.support.policies import bandit, sequential

_SMALL = {"window": 100, "reference": 400, "baseline_window": 400, "samples_per_s": 1_000}


def _config(**changes: Any) -> PolicyConfig:
    monitoring = _SMALL | changes.pop("monitoring", {})
    return parse_policy(bandit(monitoring=monitoring, **changes))


class Bench:
    """Feeds a `Watching` and judges at once, as the worker does."""

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config
        self.watching = Watching(config, read_kept(b"", config))
        self.references = References()

    def feed(self, events: Sequence[LogEvent]) -> list[Verdict]:
        verdicts = []
        for at in range(0, len(events), 100):
            self.watching.take(events[at : at + 100])
            verdicts += self.look()
        return verdicts

    def look(self) -> list[Verdict]:
        self.watching.use(self.references)
        samples = list(self.watching.kept.pending)
        rows = [np.array(one.observation.vector, np.float32) for one in samples]
        self.watching.absorb(samples, rows)
        verdicts = self.watching.judge(self.references)
        self.watching.trip_by_evidence([], START_MS)
        return verdicts

    def level(self, signal: str) -> str:
        alarms = self.watching.alarms
        return alarms[signal].level if signal in alarms else ""

    def levels(self) -> dict[str, str]:
        """Signals that are alarmed."""
        return {name: one.level for name, one in self.watching.alarms.items() if one.level}


def _reading(verdict: Verdict, signal: str, kind: str = "") -> Reading:
    return next(r for r in verdict.readings if (r.signal, r.kind) == (signal, kind))


def _clicks(rate: float, count: int, seed: int = 0) -> list[float]:
    return [float(one < rate) for one in np.random.default_rng(seed).random(count)]


# -- rewards ------------------------------------------------------------------------------------


def test_the_mean_reward_is_compared_with_that_of_the_first_rewards() -> None:
    bench = Bench(_config())
    baseline = [0.0, 1.0] * 200

    bench.feed(outcomes(baseline))
    verdict = bench.feed(outcomes([0.0, 1.0] * 30 + [0.0] * 40))[0]

    # Baseline .5 of 400, variance 400 * .25 / 399; the error is sqrt(.250627 (1/100 + 1/400)) = .0559718,
    # so the limit is .5 - 2 * .0559718 = .3880564; the window's mean is 30 / 100.
    reading = _reading(verdict, "reward")
    assert reading.value == pytest.approx(0.3)
    assert reading.limit == pytest.approx(0.3880564, abs=1e-6)
    assert bench.level("reward") == "warning"


def test_a_window_counts_towards_a_trip_only_beyond_the_doubt_about_the_baseline() -> None:
    bench = Bench(_config())
    bench.feed(outcomes([0.0, 1.0] * 200))

    # The limit is .3880564, see above; the baseline's own error is sqrt(.250627 / 400) = .0250313, so .3630251.
    verdicts = [
        bench.feed(outcomes([1.0] * ones + [0.0] * (100 - ones)))[0] for ones in (38, 37, 36)
    ]

    found = [_reading(one, "reward") for one in verdicts]
    assert [one.is_beyond for one in found] == [True, True, True]
    assert [one.is_severe for one in found] == [False, False, True]


def test_a_declared_baseline_needs_no_first_rewards() -> None:
    bench = Bench(_config(monitoring={"baseline": 0.9}))

    verdict = bench.feed(outcomes([0.0, 1.0] * 50))[0]

    # No error of the baseline: .9 - 2 sqrt((.25 * 100 / 99) / 100) = .7995.
    assert _reading(verdict, "reward").limit == pytest.approx(0.7994962, abs=1e-6)
    assert bench.level("reward") == "warning"


def test_three_low_windows_of_five_trip_where_that_is_declared() -> None:
    bench = Bench(_config(trips={"reward": {}}))
    bench.feed(outcomes(_clicks(0.5, 400)))

    levels = []
    for rate in (0.2, 0.5, 0.2, 0.5, 0.2):
        bench.feed(outcomes(_clicks(rate, 100, seed=3)))
        levels.append(bench.level("reward"))

    assert levels[0] == "warning"
    assert levels[3] != "trip"
    assert levels[4] == "trip"


def test_low_rewards_only_warn_where_no_trip_is_declared() -> None:
    bench = Bench(_config())
    bench.feed(outcomes(_clicks(0.5, 400)))

    bench.feed(outcomes(_clicks(0.1, 1_000)))

    assert bench.level("reward") == "warning"


def test_the_e_detector_trips_on_a_fall_too_small_for_windows() -> None:
    bench = Bench(_config(trips={"reward": {"range": [0, 1], "windows": 20, "of": 20}}))
    bench.feed(outcomes(_clicks(0.5, 400)))

    bench.feed(outcomes(_clicks(0.32, 3_000, seed=1)))

    assert bench.level("reward") == "trip"
    assert "evidence" in str(bench.watching.alarms["reward"].reading)


def test_rewards_of_other_arms_are_none_of_the_live_ones() -> None:
    bench = Bench(_config(trips={"reward": {}}))
    bench.feed(outcomes(_clicks(0.5, 400)))

    verdicts = bench.feed(outcomes([0.0] * 500, arm="canary"))

    assert verdicts == []


def test_a_jump_is_too_good_to_be_true() -> None:
    bench = Bench(_config())
    bench.feed(outcomes(_clicks(0.1, 700)))
    assert bench.level("too_good") == ""

    bench.feed(outcomes([1.0] * 100))

    assert bench.level("too_good") == "warning"


def test_a_total_outside_of_the_declared_range_warns_at_once() -> None:
    bench = Bench(_config(trips={"reward": {"range": [0, 1]}}))

    bench.feed(outcomes([0.5] * 99 + [1.5]))

    assert bench.level("range") == "warning"


def _parts(rewards: Sequence[float], clicks: Sequence[float], **others: float) -> list[LogEvent]:
    return [
        outcome(START_MS + at, r, components={"click": c, **others})
        for at, (r, c) in enumerate(zip(rewards, clicks, strict=True))
    ]


def test_a_component_that_parts_from_the_total_warns() -> None:
    bench = Bench(_config(reward={"wait_s": 60, "components": {"click": 1.0}}))
    random = np.random.default_rng(0)
    clicks = random.random(1_000)
    noise = random.normal(0, 0.05, 1_000)

    bench.feed(_parts((clicks + noise).tolist(), clicks.tolist()))
    assert bench.level("correlation") == ""
    bench.feed(_parts(random.random(300).tolist(), random.random(300).tolist()))

    assert bench.level("correlation") == "warning"


def test_a_guard_that_moves_either_way_warns() -> None:
    reward_rule = {"wait_s": 60, "components": {"click": 1.0}, "guards": ["complaint"]}
    bench = Bench(_config(reward=reward_rule))
    clicks = _clicks(0.5, 400)
    before = [
        outcome(START_MS + at, c, components={"click": c, "complaint": float(at % 2)})
        for at, c in enumerate(clicks)
    ]

    bench.feed(before)
    assert bench.levels() == {}
    bench.feed(_parts(clicks, clicks, complaint=0.0))

    assert bench.level("components") == "warning"


def test_a_component_with_a_weight_warns_only_where_it_gets_worse() -> None:
    bench = Bench(_config(reward={"wait_s": 60, "components": {"click": 1.0}}))
    bench.feed(_parts(_clicks(0.3, 500), _clicks(0.3, 500)))

    bench.feed(_parts(_clicks(0.9, 500), _clicks(0.9, 500)))

    assert bench.level("components") == ""


def test_values_that_predict_worse_than_at_first_warn() -> None:
    bench = Bench(_config())
    clicks = _clicks(0.5, 800)
    for at in range(400):
        bench.feed([outcome(START_MS + at, clicks[at], value=0.9 * clicks[at] + 0.001 * (at % 7))])

    bench.feed(outcomes(clicks[400:], value=0.5))

    assert bench.level("value_error") == "warning"


def test_values_of_returns_are_not_compared_with_single_rewards() -> None:
    config = parse_policy(sequential() | {"monitoring": _SMALL})

    names = [signal.name for signal in Watching(config, read_kept(b"", config)).of_outcomes()]

    assert "value_error" not in names


# -- joining ------------------------------------------------------------------------------------


def test_fewer_rewarded_decisions_than_at_first_warn() -> None:
    bench = Bench(_config())
    bench.feed(outcomes(_clicks(0.5, 400)))

    bench.feed(outcomes(_clicks(0.5, 200), outcome="defaulted", delay_ms=-1))

    assert bench.level("joins") == "warning"


def test_unreadable_decisions_warn() -> None:
    bench = Bench(_config())
    bench.feed(outcomes(_clicks(0.5, 400)))

    broken = [outcome(START_MS + at, None, outcome="unreadable") for at in range(20)]
    bench.feed((outcomes(_clicks(0.5, 80)) + broken) * 2)

    assert bench.level("joins") == "warning"


def test_rewards_that_take_longer_than_at_first_warn() -> None:
    bench = Bench(_config())
    random = np.random.default_rng(0)
    quick = [
        outcome(START_MS + at, 1.0, delay_ms=int(ms))
        for at, ms in enumerate(random.exponential(1_000, 400))
    ]
    slow = [
        outcome(START_MS + at, 1.0, delay_ms=int(ms))
        for at, ms in enumerate(random.exponential(5_000, 200))
    ]

    bench.feed(quick)
    bench.feed(slow)

    assert bench.level("delay") == "warning"


# -- decisions ----------------------------------------------------------------------------------


def _with_states(bench: Bench, random: np.random.Generator) -> None:
    """Makes the reference from normal states, as the worker does from the first decisions."""
    rows = random.normal(size=(400, 2))
    bench.references.states = StateReference.of(rows, 100, random)


def test_states_unlike_the_reference_warn_and_trip_where_that_is_declared() -> None:
    random = np.random.default_rng(0)
    bench = Bench(_config(trips={"state": {}}))
    _with_states(bench, random)

    bench.feed(decisions(random.normal(size=(300, 2)), random))
    assert bench.level("states") == ""
    bench.feed(decisions(random.normal(1.0, size=(200, 2)), random))
    assert bench.level("states") == "warning"
    bench.feed(decisions(random.normal(1.0, size=(100, 2)), random))

    assert bench.level("states") == "trip"


def test_states_whose_features_only_part_from_each_other_are_seen_by_all_together() -> None:
    random = np.random.default_rng(0)
    bench = Bench(_config(monitoring={"window": 200, "reference": 1_000}))
    rows = random.normal(size=(1_000, 2))
    rows[:, 1] = rows[:, 0] + random.normal(0, 0.3, 1_000)
    bench.references.states = StateReference.of(rows, 200, random)
    apart = rows[:400].copy()
    apart[:, 1] = random.permutation(apart[:, 1])

    verdict = bench.feed(decisions(apart, random))[0]

    assert _reading(verdict, "states", "mmd").is_beyond
    assert not _reading(verdict, "states", "psi").is_beyond


def test_probabilities_that_the_actions_do_not_follow_warn() -> None:
    random = np.random.default_rng(0)
    bench = Bench(_config())
    states = random.normal(size=(200, 2))

    bench.feed(decisions(states, random))
    assert bench.level("propensity") == ""
    bench.feed(_always("a", {"a": 0.5, "b": 0.5}, 200))

    assert bench.level("propensity") == "warning"


def _always(taken: str, probabilities: dict[str, float], count: int) -> list[LogEvent]:
    return [
        decision(START_MS + 10 * at, [0.0, 0.0], taken=taken, probabilities=probabilities)
        for at in range(count)
    ]


def test_rare_actions_that_were_never_drawn_are_no_sign_of_false_probabilities() -> None:
    bench = Bench(_config())

    bench.feed(_always("a", {"a": 0.9999, "b": 0.0001}, 400))

    assert bench.levels() == {}


def test_a_policy_that_stops_exploring_warns_and_trips_where_that_is_declared() -> None:
    random = np.random.default_rng(0)
    bench = Bench(_config(trips={"exploration": True}))
    bench.feed(decisions(random.normal(size=(400, 2)), random))

    bench.feed(_always("a", {"a": 1.0, "b": 0.0}, 200))

    assert bench.level("exploration") == "trip"


def test_a_policy_that_never_explored_does_not_collapse() -> None:
    bench = Bench(_config())

    bench.feed(_always("a", {"a": 1.0, "b": 0.0}, 800))

    assert bench.levels() == {}


def test_other_actions_than_at_first_are_shown_and_alarm_only_on_demand() -> None:
    random = np.random.default_rng(0)
    loud, quiet = Bench(_config(monitoring={"silent": []})), Bench(_config())
    states = random.normal(size=(400, 2))
    events = decisions(states, random) + decisions(
        states, random, probabilities={"a": 0.9, "b": 0.1}
    )

    verdicts = [bench.feed(events) for bench in (loud, quiet)]

    assert loud.level("actions") == "warning"
    assert quiet.level("actions") == ""
    assert _reading(verdicts[1][-1], "actions", "psi").value > 0.25


def test_decisions_that_run_out_of_time_trip_where_that_is_declared() -> None:
    random = np.random.default_rng(0)
    bench = Bench(_config(trips={"latency": {"deadline_share": 0.1}}))

    bench.feed(decisions(random.normal(size=(100, 2)), random, fallback="deadline"))

    assert bench.level("latency") == "trip"


def test_slow_decisions_trip_where_that_is_declared() -> None:
    random = np.random.default_rng(0)
    bench = Bench(_config(trips={"latency": {"p99_ms": 10}}))

    bench.feed(decisions(random.normal(size=(100, 2)), random, took_us=20_000))

    assert bench.level("latency") == "trip"


# -- constraints --------------------------------------------------------------------------------


def test_costs_over_the_budget_trip_by_evidence() -> None:
    bench = Bench(_config(trips={"constraints": {"spend": {"budget": 0.1}}}))

    bench.feed([outcome(START_MS + at, 1.0, cost=0.3) for at in range(300)])

    assert bench.level("constraint:spend") == "trip"
    assert bench.watching.kept.evidence["spend"].violations == 300


def test_costs_within_the_budget_do_not_trip() -> None:
    bench = Bench(_config(trips={"constraints": {"spend": {"budget": 0.1}}}))
    costs = _clicks(0.08, 5_000)

    bench.feed([outcome(START_MS + at, 1.0, cost=cost) for at, cost in enumerate(costs)])

    assert bench.level("constraint:spend") != "trip"


def test_a_constraint_may_be_about_a_component() -> None:
    rule = {"component": "refund", "budget": 0.1, "largest": 2.0}
    bench = Bench(_config(trips={"constraints": {"refunds": rule}}))

    bench.feed([outcome(START_MS + at, 1.0, components={"refund": 1.0}) for at in range(200)])

    assert bench.level("constraint:refunds") == "trip"


def test_a_single_cost_above_the_hard_limit_is_put_aside_to_be_looked_into() -> None:
    rule = {"budget": 0.1, "most": 0.9}
    bench = Bench(_config(trips={"constraints": {"spend": rule}}))

    bench.watching.take([reward(START_MS, "d1", cost=0.9), reward(START_MS, "d2", cost=0.95)])

    assert [one.decision_id for one in bench.watching.kept.too_much] == ["d2"]


# -- what survives ------------------------------------------------------------------------------


_A_STREAM = st.lists(
    st.one_of(
        st.builds(
            lambda r, c: ("outcome", r, c),
            st.one_of(st.none(), st.floats(-3, 3)),
            st.floats(0, 1),
        ),
        st.builds(lambda s, t: ("decision", s, t), st.floats(-3, 3), st.sampled_from(["a", "b"])),
        st.builds(lambda c: ("reward", c, 0), st.floats(0, 2)),
    ),
    min_size=1,
    max_size=80,
)


def _events(stream: Sequence[tuple[Any, ...]]) -> list[LogEvent]:
    found = []
    for at, (kind, first, second) in enumerate(stream):
        at_ms = START_MS + 300 * at
        if kind == "outcome":
            found.append(outcome(at_ms, first, cost=second, components={"click": second}))
        elif kind == "decision":
            found.append(decision(at_ms, [first, 0.0], taken=second))
        else:
            found.append(reward(at_ms, f"d{at}", cost=first))
    return found


def _watchful() -> PolicyConfig:
    document = bandit(
        monitoring={"window": 30, "reference": 100, "baseline": 0.5, "baseline_window": 30}
        | {"window_s": 5, "least": 30},
        trips={"reward": {"range": [0, 1]}, "constraints": {"spend": {"budget": 0.1, "most": 1}}},
        reward={"wait_s": 60, "components": {"click": 1.0}},
    )
    return parse_policy(document)


_WATCHFUL = _watchful()


def _turn(watching: Watching, events: Sequence[LogEvent], references: References) -> None:
    watching.take(events)
    watching.use(references)
    samples = list(watching.kept.pending)
    watching.absorb(samples, [np.array(one.observation.vector) for one in samples])
    watching.judge(references)


@given(_A_STREAM, _A_STREAM)
def test_a_worker_that_died_goes_on_from_its_bytes_as_if_it_had_not(
    first: Sequence[tuple[Any, ...]], second: Sequence[tuple[Any, ...]]
) -> None:
    whole = Watching(_WATCHFUL, read_kept(b"", _WATCHFUL))
    references = References()
    _turn(whole, _events(first), references)
    state = whole.state()

    restored = Watching(_WATCHFUL, read_kept(state, _WATCHFUL))
    assert restored.state() == state
    whole.take(_events(second))
    restored.take(_events(second))

    assert restored.state() == whole.state()


def test_a_policy_that_is_declared_otherwise_begins_anew() -> None:
    before, now = _config(), _config(monitoring={"window": 50})
    watching = Watching(before, read_kept(b"", before))
    watching.take(outcomes([1.0] * 50))

    kept = read_kept(watching.state(), now)

    assert Watching(now, kept).outcomes.open is None


def test_a_state_that_cannot_be_read_begins_anew() -> None:
    config = _config()

    assert read_kept(b"\xc1", config).lineage == -1


def test_another_version_line_begins_anew() -> None:
    bench = Bench(_config())
    bench.watching.follow_head(1, None, START_MS)
    bench.feed(outcomes(_clicks(0.5, 450)))

    bench.watching.follow_head(2, None, START_MS)

    assert bench.watching.outcomes.open is None
    assert bench.watching.kept.lineage == 2


def test_events_that_cannot_be_read_are_passed_over() -> None:
    bench = Bench(_config())
    good = outcomes([1.0] * 3)
    bad = [
        LogEvent(one.stream_id, kind, "d", b"\xc1")
        for one in good
        for kind in ("joined", "decision")
    ]

    bench.watching.take([*bad, *good])

    assert bench.watching.outcomes.open is not None
    assert bench.watching.outcomes.open.count == 3


# -- trips and recoveries -----------------------------------------------------------------------


def _tripped(at_ms: int) -> Trip:
    return Trip(trip_id="t", signal="reward", why="it fell", at_ms=at_ms)


def test_a_tripped_policy_is_judged_by_what_its_fallback_earns() -> None:
    bench = Bench(_config(trips={"reward": {}}))
    bench.feed(outcomes(_clicks(0.5, 400)))
    bench.feed(outcomes([0.0] * 300))
    assert bench.level("reward") == "trip"

    bench.watching.follow_head(-1, _tripped(START_MS), START_MS)
    bench.feed(outcomes([0.0] * 300))
    assert bench.watching.alarms["reward"].healthy == 0
    later = START_MS + 10_000
    bench.feed(outcomes(_clicks(0.5, 200), begin_ms=later, arm="fallback"))

    assert bench.watching.alarms["reward"].healthy == 2


def test_after_a_recovery_only_decisions_since_then_count() -> None:
    bench = Bench(_config(trips={"reward": {}}))
    bench.feed(outcomes(_clicks(0.5, 400)))
    bench.feed(outcomes([0.0] * 300))
    bench.watching.follow_head(-1, _tripped(START_MS), START_MS)

    recovered_ms = START_MS + 60_000
    bench.watching.follow_head(-1, None, recovered_ms)
    late = outcomes([0.0] * 500, begin_ms=recovered_ms, made_ms=START_MS)

    assert bench.level("reward") == ""
    assert bench.feed(late) == []


# -- how often it is wrong ----------------------------------------------------------------------


def test_two_hundred_quiet_windows_raise_no_alarm_but_the_early_warning() -> None:
    """The warning at 2 standard errors is wrong in about one window of forty, and is meant to be."""
    random = np.random.default_rng(7)
    bench = Bench(_config(trips={"reward": {"range": [0, 1]}, "state": {}, "exploration": True}))
    _with_states(bench, random)
    alarmed: set[tuple[str, str]] = set()
    warnings = windows = 0

    for _ in range(200):
        clicks = (random.random(100) < 0.3).astype(float).tolist()
        events = outcomes(clicks, value=0.3) + decisions(random.normal(size=(100, 2)), random)
        for verdict in bench.feed(events):
            windows += verdict.kind == "outcomes"
            is_low = any(r.signal == "reward" and r.is_beyond for r in verdict.readings)
            warnings += is_low
        alarmed |= set(bench.levels().items())

    assert alarmed <= {("reward", "warning")}
    assert windows == 200
    assert warnings <= 12
