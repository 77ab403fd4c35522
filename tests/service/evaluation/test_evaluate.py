"""A log in memory to a report: values, verdicts, bounds, and what does not change them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_core.types import ActionSet
from service.decisions.repository import EpisodePlace
from service.evaluation.errors import EvaluationError
from service.evaluation.estimators import ESTIMATORS
from service.evaluation.evaluate import evaluate
from service.evaluation.known import Known
from service.evaluation.parallel import processes
from service.evaluation.schemas import EvaluationReport, EvaluationRequest
from service.evaluation.steps import LoggedStep, RefusedRow
from service.evaluation.targets import named
from tests.service.evaluation.logs import (
    IDS,
    REWARDS,
    Memory,
    ask,
    but,
    clicks,
    steers,
    value_of,
    walks,
)

_BETTER = np.array([0.1, 0.1, 0.8])
_WALK = np.array([0.3, 0.7])


def _report(
    steps: list[LoggedStep],
    request: EvaluationRequest | None = None,
    known: Known | None = None,
    size: int = 2000,
) -> EvaluationReport:
    request = request or ask()
    return evaluate(
        Memory(steps), named(request.target), request, known or Known("a log"), size=size
    )


def _family(family: str) -> list[str]:
    return [name for name, one in ESTIMATORS.items() if one.family == family]


def _step(i: int, action: int, reward: float) -> LoggedStep:
    actions = ActionSet(IDS[:2], np.eye(2, dtype=np.float32))
    return LoggedStep(
        f"row {i}",
        f"d{i}",
        i,
        np.zeros(1, np.float32),
        actions,
        action,
        0.5,
        reward,
        target=np.array([0.2, 0.8]),
    )


def test_inverse_propensities_by_hand() -> None:
    # Ratios of 0.4, 1.6, 1.6; rewards 1, 2, 0. IPS (0.4 + 3.2 + 0) / 3, SNIPS the same over 3.6.
    report = _report(
        [_step(0, 0, 1), _step(1, 1, 2), _step(2, 1, 0)], ask(estimators=["ips", "snips"])
    )

    assert value_of(report, "ips") == pytest.approx(1.2)
    assert value_of(report, "snips") == pytest.approx(1.0)
    assert report.logged == pytest.approx(1.0)
    assert report.weights is not None
    assert report.weights.mean == pytest.approx(1.2)
    assert report.weights.largest == pytest.approx(1.6)
    # 3.6^2 / (0.16 + 2 * 2.56).
    assert report.effective_rows == pytest.approx(12.96 / 5.28)
    assert report.verdict == "not enough evidence"


def test_a_target_that_is_the_behaviour_earns_what_the_log_earned() -> None:
    report = _report(clicks(500, _BETTER), ask("behaviour", estimators=["ips", "snips", "dr"]))

    assert report.logged is not None
    assert value_of(report, "ips") == pytest.approx(report.logged)
    assert value_of(report, "snips") == pytest.approx(report.logged)
    assert report.weights is not None
    assert report.weights.overlap == pytest.approx(1.0)


@pytest.mark.parametrize("name", _family("decisions"))
def test_every_estimator_of_decisions_finds_the_value(name: str) -> None:
    report = _report(clicks(4000, _BETTER), ask(estimators=[name, "dr"]) if name != "dr" else ask())

    # 4 standard errors of IPS, the noisiest of them, are 0.07; SLOPE allows as much again for bias.
    assert value_of(report, name) == pytest.approx(_BETTER @ REWARDS, abs=0.1)


@pytest.mark.parametrize("name", _family("episodes"))
def test_every_estimator_of_episodes_finds_the_value(name: str) -> None:
    report = _report(walks(1500, _WALK), ask(estimators=[name]))

    # Each step t earns the sum of t earlier actions and its own: 0.7 (1 + 2 + 3). TIS varies most, by 0.13.
    assert report.unit == "episode"
    assert value_of(report, name) == pytest.approx(4.2, abs=0.5)


@pytest.mark.parametrize("name", _family("kernels"))
def test_every_estimator_of_continuous_actions_finds_the_value(name: str) -> None:
    report = _report(steers(4000, np.array([0.5])), ask(estimators=[name]))

    assert value_of(report, name) == pytest.approx(2.0, abs=0.2)


def test_a_better_policy_is_better() -> None:
    report = _report(clicks(3000, _BETTER))

    assert (report.verdict, report.reasons) == ("better", [])
    assert report.lower is not None
    assert report.baseline is not None
    assert report.baseline == report.logged
    assert report.lower > report.baseline
    assert report.rows == report.decisions == 3000


def test_what_is_not_better_is_not_shown_to_be() -> None:
    report = _report(clicks(3000, np.array([0.6, 0.3, 0.1])), ask(baseline=0.5))

    assert report.verdict == "not shown to be better"
    (reason,) = report.reasons
    assert "the baseline is 0.5" in reason


def test_a_log_that_hardly_tried_it_is_not_enough() -> None:
    behaviour = np.array([0.495, 0.495, 0.01])

    report = _report(clicks(1000, np.array([0.0, 0.0, 1.0]), behaviour))

    assert report.verdict == "not enough evidence"
    assert "the log is worth" in report.reasons[0]


def test_wrong_propensities_are_noticed() -> None:
    steps = [but(step, propensity=0.5) for step in clicks(3000, _BETTER)]

    report = _report(steps)

    assert report.verdict == "not enough evidence"
    assert any("propensities are wrong" in reason for reason in report.reasons)


def test_an_empty_log_says_nothing() -> None:
    report = _report([])

    assert report.verdict == "not enough evidence"
    assert (report.rows, report.value, report.lower) == (0, None, None)
    assert "no row" in report.reasons[0]


def test_a_log_of_one_row_is_reported_without_errors() -> None:
    report = _report(clicks(1, _BETTER), ask(estimators=_family("decisions")))

    assert report.verdict == "not enough evidence"
    assert report.rows == 1


def test_a_target_that_does_only_what_was_never_done_has_no_value() -> None:
    steps = [step for step in clicks(300, np.array([0.0, 0.0, 1.0])) if step.action != 2]

    report = _report(steps, ask(estimators=["snips", "ips"]))

    assert report.verdict == "not enough evidence"
    assert report.estimates[0].value is None
    assert report.effective_rows == 0


def test_every_bound_is_below_the_value_and_the_truth() -> None:
    report = _report(clicks(4000, _BETTER))

    assert report.bounds.keys() == {
        "betting",
        "student_t",
        "bootstrap",
        "empirical_bernstein",
        "hcope",
    }
    for lower in report.bounds.values():
        assert lower is not None
        assert 0.6 < lower < _BETTER @ REWARDS


def test_the_bound_that_is_asked_for_decides() -> None:
    steps = clicks(2000, _BETTER)
    student = _report(steps, ask(bound="student_t"))
    assert student.lower == student.bounds["student_t"]

    # Between the two bounds.
    both = [one for one in (student.bounds["betting"], student.lower) if one is not None]
    between = sum(both) / 2

    assert _report(steps, ask(bound="student_t", baseline=between)).verdict == "better"
    assert _report(steps, ask(baseline=between)).verdict == "not shown to be better"


def test_rewards_below_zero_only_move_the_bound() -> None:
    steps = clicks(3000, _BETTER)
    moved = [but(step, reward=step.reward - 1) for step in steps]

    before, after = _report(steps), _report(moved)

    assert before.lower is not None
    # On the same rows, moved by 1, with the mean weight of the log in place of 1.
    assert after.lower == pytest.approx(before.lower - 1, abs=1e-9)


def test_a_declared_range_is_what_the_bound_rests_on() -> None:
    steps = clicks(3000, _BETTER)

    narrow, wide = _report(steps), _report(steps, known=Known("a log", least=-5.0))

    assert narrow.lower is not None
    assert wide.lower is not None
    assert wide.lower < narrow.lower - 0.05


# -- how the log is cut ------------------------------------------------------------------------------


def _plain(report: EvaluationReport) -> object:
    return msgspec.to_builtins(report)


def _same(one: object, other: object) -> bool:
    """Equal but for rounding, all the way down."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-9)
    return one == other


_DECISIONS = clicks(120, _BETTER)
_EPISODES = walks(40, _WALK)
_WHOLE = {
    "decisions": _report(
        _DECISIONS,
        ask(estimators=_family("decisions"), constraints=["cost<=0.9"], effective_rows=20),
    ),
    "episodes": _report(_EPISODES, ask(estimators=_family("episodes"), effective_rows=20)),
}


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 130))
def test_how_decisions_are_cut_into_shards_does_not_matter(size: int) -> None:
    request = ask(estimators=_family("decisions"), constraints=["cost<=0.9"], effective_rows=20)

    report = _report(_DECISIONS, request, size=size)

    assert _same(_plain(report), _plain(_WHOLE["decisions"]))


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(3, 130))
def test_how_episodes_are_cut_into_shards_does_not_matter(size: int) -> None:
    request = ask(estimators=_family("episodes"), effective_rows=20)

    report = _report(_EPISODES, request, size=size)

    assert _same(_plain(report), _plain(_WHOLE["episodes"]))


def test_steps_of_episodes_may_come_mixed() -> None:
    request = ask(estimators=_family("episodes"), effective_rows=20)
    mixed = sorted(_EPISODES, key=lambda step: (step.place or EpisodePlace("", 0)).step)

    assert _same(_plain(_report(mixed, request)), _plain(_WHOLE["episodes"]))


def test_two_processes_find_exactly_what_one_does() -> None:
    request = ask(estimators=["dr", "mrdr"], constraints=["cost<=0.9"])
    alone = _report(_DECISIONS, request, size=30)

    with processes(2) as run:
        together = evaluate(
            Memory(_DECISIONS), named("logged"), request, Known("a log"), run=run, size=30
        )

    assert together == alone


# -- constraints -------------------------------------------------------------------------------------


def test_constraints_that_hold_are_told_with_their_numbers() -> None:
    report = _report(clicks(3000, _BETTER), ask(constraints=["cost<=0.9", "click >= 0.1"]))

    cost, click = report.constraints
    assert report.verdict == "better"
    assert cost.holds
    assert click.holds
    assert cost.value is not None
    assert cost.upper is not None
    # The third action costs 1, and the target takes it with 0.8.
    assert cost.value == pytest.approx(0.8, abs=0.06)
    assert 0.8 < cost.upper <= 0.9
    assert cost.assumed
    assert click.upper is not None
    # Half of the rows have a click.
    assert click.upper < 0.5


def test_a_constraint_that_is_not_shown_to_hold_ends_without_a_solution() -> None:
    report = _report(clicks(3000, _BETTER), ask(constraints=["cost<=0.75"]))

    assert report.verdict == "no solution found"
    assert report.lower is not None
    assert report.baseline is not None
    assert report.lower > report.baseline
    assert "`cost<=0.75` is not shown to hold" in report.reasons[-1]


def test_a_declared_range_is_what_a_constraint_rests_on() -> None:
    steps, request = clicks(3000, _BETTER), ask(constraints=["cost<=0.9"])

    declared = _report(steps, request, Known("a log", most={"cost": 10.0}))

    (cost,) = declared.constraints
    assert not cost.assumed
    # Costs of up to 10 that were never seen cannot be ruled out so well.
    assert not cost.holds


def test_what_is_declared_of_decisions_is_assumed_of_episodes() -> None:
    known = Known("a log", most={"reward": 1.0})

    report = _report(walks(400, np.array([0.2, 0.8])), ask(constraints=["reward<=3"]), known)

    # Three steps of at most 1 each: the largest that was seen of an episode stands for it.
    assert report.unit == "episode"
    assert report.constraints[0].assumed


def test_long_episodes_with_wrong_propensities_are_no_evidence() -> None:
    steps = [but(step, propensity=0.2) for step in walks(2, np.array([0.2, 0.8]), steps=1400)]

    report = _report(steps, ask(estimators=["pdis", "wpdis", "tis", "magic"]))

    # About 4^700, whose square no double holds.
    assert report.verdict == "not enough evidence"
    assert "propensities are wrong" in " ".join(report.reasons)


def test_a_constraint_on_what_does_not_exist_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no decision has a `clicks`; did you mean 'click'"):
        _report(clicks(50, _BETTER), ask(constraints=["clicks>=0.1"]))


def test_a_part_that_is_declared_but_never_came_is_0() -> None:
    known = Known("a log", components=frozenset({"refund"}))

    report = _report(clicks(500, _BETTER), ask(constraints=["refund<=0.1"]), known)

    assert report.constraints[0].value == 0
    assert report.constraints[0].holds


# -- what is left out --------------------------------------------------------------------------------


def test_rows_of_which_the_target_cannot_speak_are_told_and_cost_no_other_row() -> None:
    steps = clicks(200, _BETTER)
    steps[3] = but(steps[3], target=None)

    report = _report(steps)

    assert report.rows == 199
    assert report.skipped == {"target_cannot_say": 1}
    assert report.refused == [
        RefusedRow(
            "row 3", "the row has no `target_probabilities`; add them, or evaluate another target"
        )
    ]


def test_what_the_source_left_out_is_in_the_report() -> None:
    refused = [RefusedRow("log.jsonl:7", "no propensity")]
    source = Memory(clicks(50, _BETTER), refused, {"refused": 1, "not_activated": 4})

    report = evaluate(source, named("logged"), ask(), Known("a log"))

    assert report.refused == refused
    assert report.skipped == {"not_activated": 4, "refused": 1}


def test_a_log_without_any_usable_row_says_so() -> None:
    report = _report([but(step, target=None) for step in clicks(150, _BETTER)])

    assert report.verdict == "not enough evidence"
    assert report.skipped == {"target_cannot_say": 150}
    assert len(report.refused) == 100


def test_likeness_needs_all_probabilities() -> None:
    steps = [but(step, behaviour=None) for step in clicks(50, _BETTER)]

    with pytest.raises(EvaluationError, match="`mips` needs the logged probabilities"):
        _report(steps, ask(estimators=["mips"]))


def test_an_episode_is_worth_its_discounted_rewards() -> None:
    # Rewards 1 and 2 of one episode at discount 1/2: 1 + 1 = 2; ratios of 1.
    steps = [
        but(_step(0, 0, 1.0), place=EpisodePlace("e", 0), target=np.full(2, 0.5)),
        but(
            _step(1, 1, 2.0),
            place=EpisodePlace("e", 1),
            target=np.full(2, 0.5),
            is_terminated=True,
        ),
    ]

    report = _report(steps, ask(estimators=["pdis", "tis"]), Known("a log", discount=0.5))

    assert (report.unit, report.rows, report.decisions, report.discount) == ("episode", 1, 2, 0.5)
    assert value_of(report, "pdis") == value_of(report, "tis") == report.logged == 2.0


def test_time_is_cut_into_equal_parts() -> None:
    report = _report(clicks(400, _BETTER))

    # 400 rows a second apart: 10 in each of 40 parts.
    assert [one.rows for one in report.over_time] == [10] * 40
    assert report.over_time[-1].until_ms == 399_001
    assert report.over_time[-1].effective_rows == pytest.approx(report.effective_rows)
    assert report.weights is not None
    assert sum(report.weights.histogram) == 400
