"""The propensity audit, on hand-worked numbers and on a log that lies."""

from __future__ import annotations

import math
import random
from typing import get_args

import pytest

from service.decisions.schemas import (
    ActResponse,
    Assignment,
    ChosenAction,
    Ranked,
    Reason,
    ReasonsDetail,
)
from service.policies.audit import audit, importance_weight, mean_interval


def response(probabilities: list[float], index: int, reason: Reason = "policy") -> ActResponse:
    assert reason in get_args(Reason)
    return ActResponse(
        decision_id="d",
        policy="p",
        model_version="p@1",
        config_hash="c:0",
        feature_schema="fs:0",
        action=ChosenAction(str(index), index),
        propensity=probabilities[index],
        ranking=[Ranked(str(i), p, 0.0) for i, p in enumerate(probabilities)],
        reason=reason,
        reasons_detail=ReasonsDetail(False),
        assignment=Assignment("live", 1.0, probabilities[index]),
        mode="online",
        activated=True,
        reward_deadline="2026-01-01T00:00:00.000Z",
    )


def test_the_weight_is_the_uniform_probability_over_the_logged_one() -> None:
    # Four actions, one of them removed: uniform over three is 1/3, logged 0.5: 0.667.
    assert importance_weight(response([0.5, 0.25, 0.25, 0.0], 0)) == pytest.approx(2 / 3)


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    # 1, 2, 3: mean 2, variance 1, standard error 0.57735, times 1.95996 is 1.13158.
    mean, low, high = mean_interval([1.0, 2.0, 3.0])

    assert mean == 2.0
    assert low == pytest.approx(2 - 1.95996 / math.sqrt(3), abs=1e-5)
    assert high == pytest.approx(2 + 1.95996 / math.sqrt(3), abs=1e-5)


def test_true_probabilities_pass() -> None:
    draw = random.Random(3)
    table = [0.6, 0.3, 0.1]
    found = audit([response(table, draw.choices(range(3), table)[0]) for _ in range(4000)])

    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high
    assert found.p_value is not None
    assert found.p_value > 0.01
    assert found.overlap == 1.0


def test_a_log_that_lies_is_caught() -> None:
    """Plays the best action always, logs softmax-like numbers."""
    found = audit([response([0.6, 0.3, 0.1], 0) for _ in range(4000)])

    assert found.high is not None
    assert found.high < 1
    assert found.p_value == pytest.approx(0.0, abs=1e-6)


def test_decisions_that_nobody_drew_are_left_out() -> None:
    assert audit([response([1.0, 0.0], 0, "baseline")]).decisions == 0
