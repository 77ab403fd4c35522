"""Which alarms trip a policy, what a trip says, and when it ends; evidence about costs, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.monitoring.judge import Alarm, Level
from service.monitoring.readings import Reading
from service.monitoring.retraining import Need, why_retrain
from service.monitoring.rule import MonitoringRule, RetrainRule
from service.policies.head import Trip
from service.trips.constraints import Evidence, after, bet_of, cost_of, is_broken, too_much
from service.trips.logic import new_trip, recovery_of, trip_of
from service.trips.rule import ConstraintRule, RewardTrip, StateTrip, TripRule


def _alarm(level: Level, since_ms: int = 0) -> Alarm:
    reading = Reading(signal="reward", value=0.1, limit=0.2, is_beyond=True, is_severe=True)
    return Alarm(level=level, since_ms=since_ms, reading=reading)


def test_a_warning_does_not_trip() -> None:
    assert trip_of({"reward": _alarm("warning")}, TripRule(), 3, "t", 100) is None


def test_a_trip_is_named_after_what_tripped_first() -> None:
    alarms = {"states": _alarm("trip", 20), "reward": _alarm("trip", 10)}

    trip = trip_of(alarms, TripRule(), 3, "t", 100)

    assert trip is not None
    assert trip.signal == "reward"
    assert trip.why == "reward is 0.1, beyond its limit of 0.2"
    assert (trip.version, trip.recover_ms) == (0, 0)


@pytest.mark.parametrize(("serve", "version"), [("previous", 3), ("fallback", 0)])
def test_what_serves_is_what_the_policy_declares(serve: str, version: int) -> None:
    rule = TripRule.model_validate({"serve": serve, "recover_s": 2})

    trip = new_trip(rule, 3, "t", "reward", "it fell", 1_000)

    assert trip.version == version
    assert trip.recover_ms == 3_000


def _trip(recover_ms: int = 0) -> Trip:
    return Trip(trip_id="t", signal="reward", why="", at_ms=1_000, recover_ms=recover_ms)


def test_without_a_rule_only_a_person_ends_a_trip() -> None:
    assert recovery_of(_trip(), TripRule(), 1_000, 10**12) == ""


def test_a_trip_ends_when_its_time_is_over() -> None:
    rule = TripRule(recover_s=2)

    assert recovery_of(_trip(3_000), rule, 0, 2_999) == ""
    assert recovery_of(_trip(3_000), rule, 0, 3_000) == "2 s have passed since the trip"


def test_a_trip_ends_after_enough_good_windows() -> None:
    rule = TripRule(recover_windows=3)

    assert recovery_of(_trip(), rule, 2, 2_000) == ""
    assert recovery_of(_trip(), rule, 3, 2_000) == "reward was well in 3 windows in a row"


# -- costs --------------------------------------------------------------------------------------


def test_the_bet_is_that_of_the_widest_costs_at_the_budget() -> None:
    # Budget .1 of 1, harm at .15: the step is .05 and the variance .1 * .9 = .09.
    # .05 / (.09 + .0025) = .540541, below half of 1 / .1.
    assert bet_of(ConstraintRule(budget=0.1)) == pytest.approx(0.5405405)


def test_evidence_sums_what_costs_say_since_each_moment_at_which_harm_may_begin() -> None:
    rule = ConstraintRule(budget=0.1)

    evidence = after(Evidence(), rule, np.array([1.0, 0.0]))

    # The costs say 1 + .540541 * .9 = 1.486487 and 1 - .540541 * .1 = .945946. With the shares .409384 and .114111
    # that begin, and .590616 and .476505 that have not: 1.486487 * .409384 + .590616 = 1.199160, and
    # .945946 (.608544 + .114111) + .476505 = 1.160097.
    assert math.exp(evidence.log_wealth) == pytest.approx(1.160097, abs=1e-5)
    assert math.exp(evidence.highest) == pytest.approx(1.199160, abs=1e-5)
    assert evidence.violations == 1


def test_costs_are_shares_of_the_largest() -> None:
    small, large = ConstraintRule(budget=0.1), ConstraintRule(budget=1.0, largest=10.0)
    costs = np.array([0.3, 0.05])

    assert after(Evidence(), large, 10 * costs).log_wealth == pytest.approx(
        after(Evidence(), small, costs).log_wealth
    )


def test_a_constraint_is_broken_once_its_evidence_was_high_enough() -> None:
    rule = ConstraintRule(budget=0.1, alpha=0.05)

    assert not is_broken(Evidence(highest=math.log(19.9)), rule)
    assert is_broken(Evidence(count=9, log_begun=-5.0, highest=math.log(20.1)), rule)


def test_policies_that_just_keep_their_budget_are_seldom_tripped() -> None:
    rule = ConstraintRule(budget=0.1, alpha=0.05)
    random = np.random.default_rng(0)

    runs = [
        after(Evidence(), rule, (random.random(2_000) < 0.1).astype(np.float64)) for _ in range(400)
    ]

    # Ville: 5 % at most. Of 400 runs that is 20, and 20 + 3 * 4.4 with chance.
    assert sum(is_broken(one, rule) for one in runs) <= 33


def test_a_policy_that_goes_bad_after_a_long_good_time_is_tripped() -> None:
    rule = ConstraintRule(budget=0.1, alpha=0.05)
    random = np.random.default_rng(1)
    good = after(Evidence(), rule, (random.random(50_000) < 0.05).astype(np.float64))

    gone_bad = after(good, rule, (random.random(4_000) < 0.15).astype(np.float64))

    assert not is_broken(good, rule)
    assert is_broken(gone_bad, rule)


def test_batches_make_no_difference_to_evidence() -> None:
    rule = ConstraintRule(budget=0.2)
    costs = np.random.default_rng(0).random(50)

    in_two = after(after(Evidence(), rule, costs[:20]), rule, costs[20:])

    assert in_two.log_wealth == pytest.approx(after(Evidence(), rule, costs).log_wealth)


def test_what_a_constraint_counts_is_the_cost_or_a_component() -> None:
    spend, refunds = ConstraintRule(budget=0.1), ConstraintRule(component="refund", budget=0.1)

    assert cost_of(spend, 0.5, {"refund": 0.7}) == 0.5
    assert cost_of(refunds, 0.5, {"refund": 0.7}) == 0.7
    assert cost_of(refunds, 0.5, {}) == 0.0


def test_only_hard_limits_look_at_single_costs() -> None:
    rules = {"soft": ConstraintRule(budget=0.1), "hard": ConstraintRule(budget=0.1, most=0.5)}

    assert [one.constraint for one in too_much(rules, "d", 0.9, {})] == ["hard"]
    assert list(too_much(rules, "d", 0.5, {})) == []


# -- candidates ---------------------------------------------------------------------------------


def _need(**changes: object) -> Need:
    fields: dict[str, object] = {
        "streak": 0, "alarms": {}, "asked_ms": 0, "live_age_s": 0.0, "fresh": 0,
    }  # fmt: skip
    return Need(**(fields | changes))  # type: ignore[arg-type]  # a test may set any of them


def test_a_candidate_is_asked_for_when_states_drift_for_long() -> None:
    rule = RetrainRule(drift_windows=3)

    assert why_retrain(rule, _need(streak=2), 0) == ""
    assert "3 windows in a row" in why_retrain(rule, _need(streak=3), 0)


def test_a_candidate_is_asked_for_when_the_policy_predicts_wrongly() -> None:
    alarms = {"value_error": Alarm(level="warning")}

    assert why_retrain(RetrainRule(), _need(alarms=alarms), 0) != ""
    assert why_retrain(RetrainRule(on_value_error=False), _need(alarms=alarms), 0) == ""


def test_a_candidate_is_asked_for_when_the_live_version_is_old_and_there_is_more_to_learn() -> None:
    rule = RetrainRule(oldest_s=60, fresh=100)

    assert why_retrain(rule, _need(live_age_s=61.0, fresh=99), 0) == ""
    assert why_retrain(rule, _need(live_age_s=59.0, fresh=100), 0) == ""
    assert why_retrain(rule, _need(live_age_s=61.0, fresh=100), 0) != ""


def test_a_candidate_is_asked_for_when_the_log_says_little_about_the_live_version() -> None:
    rule = RetrainRule(effective_share=0.1)

    assert why_retrain(rule, _need(effective_share=None), 0) == ""
    assert why_retrain(rule, _need(effective_share=0.1), 0) == ""
    assert why_retrain(rule, _need(effective_share=0.09), 0) != ""
    assert why_retrain(RetrainRule(), _need(effective_share=0.01), 0) == ""


def test_candidates_are_asked_for_one_after_another_with_a_pause() -> None:
    rule = RetrainRule(cooldown_s=10)
    need = _need(streak=9, asked_ms=1_000)

    assert why_retrain(rule, need, 10_999) == ""
    assert why_retrain(rule, need, 11_000) != ""


# -- what can be declared -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "problem"),
    [
        (RewardTrip, {"windows": 6, "of": 5}, "only 5"),
        (RewardTrip, {"range": [1, 0]}, "smallest reward"),
        (StateTrip, {"windows": 6, "of": 5}, "only 5"),
        (ConstraintRule, {"budget": 1.0}, "below `largest`"),
        (MonitoringRule, {"window": 1_000, "reference": 1_500}, "2000 or more"),
    ],
)
def test_what_cannot_happen_cannot_be_declared(
    kind: type[TripRule], fields: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        kind.model_validate(fields)
