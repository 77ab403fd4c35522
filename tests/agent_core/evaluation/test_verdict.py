"""What is said of a policy, and when nothing may be said."""

from __future__ import annotations

import numpy as np
import pytest

from agent_core.evaluation.betting import Tally, betting_lower
from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.moments import Estimate, Moments, plain, self_normalized
from agent_core.evaluation.terms import doubly_robust, importance
from agent_core.evaluation.verdict import Question, judged
from tests.agent_core.evaluation import oracle

_QUESTION = Question(baseline=0.5, effective_rows=20)
_WEIGHTS = WeightSums.of(np.tile([0.5, 1.5], 50))
# Standard errors of 0.1.
_AGREEING = {"IPS": Estimate(0.9, 1.0, 100), "DR": Estimate(1.0, 1.0, 100)}


@pytest.mark.parametrize(("lower", "verdict"), [(0.6, "better"), (0.5, "not shown to be better")])
def test_a_policy_is_better_if_its_bound_is_above_the_baseline(lower: float, verdict: str) -> None:
    report = judged(_QUESTION, _AGREEING, _WEIGHTS, lower)

    assert report.verdict == verdict
    assert report.reasons == ()


def test_a_thin_log_answers_nothing_however_high_the_bound() -> None:
    # One row of weight 100 among a hundred is worth one row, and 1 on average.
    weights = WeightSums.of(np.append(np.zeros(99), 100.0))

    report = judged(_QUESTION, _AGREEING, weights, lower=0.9)

    assert report.verdict == "not enough evidence"
    (reason,) = report.reasons
    assert reason.startswith("the log is worth 1.0 rows")
    assert report.weights is weights


def test_what_the_log_never_tried_is_no_evidence() -> None:
    moments = np.tile([0.9, 0.01], (100, 1))
    weights = WeightSums.of(np.full(100, 0.9), moments)

    report = judged(_QUESTION, _AGREEING, weights, lower=0.9)

    assert report.verdict == "not enough evidence"
    (reason,) = report.reasons
    assert reason.startswith("of what the target does, 10.0% was never tried")


def test_weights_that_are_not_one_on_average_are_no_evidence() -> None:
    # 0.8 with a standard deviation of 0.2: an error of 0.02, and ten of them off.
    weights = WeightSums.of(np.tile([0.6, 1.0], 50))

    report = judged(_QUESTION, _AGREEING, weights, lower=0.9)

    assert report.verdict == "not enough evidence"
    (reason,) = report.reasons
    assert reason.startswith("weights are 0.8 on average")


def test_estimators_that_contradict_each_other_are_named() -> None:
    # 0.9 + 0.3 is below 1.51 - 0.3.
    estimates = _AGREEING | {"DM": Estimate(1.51, 1.0, 100)}

    report = judged(_QUESTION, estimates, _WEIGHTS, lower=0.6)

    assert report.verdict == "estimators disagree"
    (reason,) = report.reasons
    assert reason.startswith("DM is above 1.21 and IPS below 1.2,")


def test_a_policy_of_which_nothing_was_tried_gets_no_number() -> None:
    nothing = Estimate(float("nan"), float("nan"), 100)

    report = judged(_QUESTION, {"SNIPS": nothing}, WeightSums.of(np.zeros(100)), float("nan"))

    assert report.verdict == "not enough evidence"


@pytest.mark.parametrize(
    ("run", "effective_rows", "verdict"),
    # The logs are worth 2467 and 340 rows; the lower bounds are 0.0020 and 0.0009.
    [
        (3, 1000, "better"),
        (3, 3000, "not enough evidence"),
        (1, 300, "not shown to be better"),
        (1, 1000, "not enough evidence"),
    ],
)
def test_a_log_goes_all_the_way_to_a_verdict(run: int, effective_rows: float, verdict: str) -> None:
    found = oracle.runs()[run]
    log, model = oracle.open_bandit(found), oracle.models(found)["tabular"]
    ratio = log.ratio()
    without = Moments.of(importance(log.reward, ratio))
    robust = Moments.of(doubly_robust(log.reward, ratio, model.taken, model.expected))
    estimates = {"IPS": plain(without), "SNIPS": self_normalized(without), "DR": plain(robust)}
    lower = betting_lower(Tally.of(ratio * log.reward), delta=0.05)

    report = judged(Question(0.0015, effective_rows), estimates, WeightSums.of(ratio), lower)

    assert report.verdict == verdict
