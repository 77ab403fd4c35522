"""A canary against the live version, from sums."""

from __future__ import annotations

import numpy as np
import pytest

from service.rollout.judge import judge
from service.rollout.rule import RolloutRule
from service.rollout.sums import ArmSums, StepSums

RULE = RolloutRule(margin=0.05, least_rewards=100, expected_rewards=500, most_rewards=2_000)


def arm(mean: float, size: int, cost: float = 0.0, latency_ms: float = 0.0) -> ArmSums:
    """`size` rewards of 0 and 1, with the given mean, and small spreads of the others."""
    sums = ArmSums()
    for at in range(size):
        reward = float((at * mean) % 1 + mean >= 1 - 1e-9)
        sums.add((reward, -cost - 0.01 * (at % 2), -latency_ms - 0.1 * (at % 2)))
    return sums


def step(canary: ArmSums, live: ArmSums) -> StepSums:
    return StepSums(0, canary, live)


def test_no_rewards_decide_nothing() -> None:
    assert judge([], RULE).evidence == "continue"
    assert judge([step(arm(0.5, 50), ArmSums())], RULE).comparisons == ()


@pytest.mark.parametrize(
    ("canary", "live", "evidence"),
    [
        (arm(0.5, 50), arm(0.5, 50), "continue"),
        (arm(0.5, 200), arm(0.5, 200), "continue"),
        (arm(0.9, 400), arm(0.5, 400), "promote"),
        (arm(0.2, 400), arm(0.5, 400), "roll back"),
        (arm(0.5, 2_000), arm(0.54, 2_000), "ask a person"),
    ],
)
def test_rewards_decide(canary: ArmSums, live: ArmSums, evidence: str) -> None:
    found = judge([step(canary, live)], RULE)

    assert found.evidence == evidence
    assert found.comparisons[0].difference == pytest.approx(canary.mean[0] - live.mean[0])
    assert "reward: canary less live" in found.why


@pytest.mark.parametrize(
    ("rule", "canary", "metric"),
    [
        (RULE.model_copy(update={"cost_margin": 0.1}), arm(0.9, 400, cost=0.5), "cost"),
        (
            RULE.model_copy(update={"latency_margin_ms": 1.0}),
            arm(0.9, 400, latency_ms=9),
            "latency",
        ),
    ],
)
def test_a_canary_that_earns_more_is_rolled_back_for_its_cost_or_its_latency(
    rule: RolloutRule, canary: ArmSums, metric: str
) -> None:
    found = judge([step(canary, arm(0.5, 400))], rule)

    assert found.evidence == "roll back"
    assert found.why.startswith(metric)
    worst = next(one for one in found.comparisons if one.metric == metric)
    assert worst.difference > 0  # as people read it: more cost, more milliseconds


def test_what_is_not_declared_is_not_compared() -> None:
    found = judge([step(arm(0.9, 400, cost=9, latency_ms=9), arm(0.5, 400))], RULE)

    assert [one.metric for one in found.comparisons] == ["reward"]
    assert found.evidence == "promote"


def test_steps_of_different_shares_are_compared_each_in_itself() -> None:
    """Good times at a small share, bad times at a large one: pooled, the canary would look much worse."""
    good = step(arm(0.9, 100), arm(0.9, 900))
    bad = step(arm(0.1, 900), arm(0.1, 100))

    found = judge([good, bad], RULE)

    assert found.comparisons[0].difference == pytest.approx(0.0, abs=1e-9)
    assert found.comparisons[0].size == 200


def test_a_canary_as_good_as_the_live_version_is_rarely_rolled_back() -> None:
    """200 canaries, a look every 50 rewards: at 5 % fewer than 11 in expectation, and 20 in all but unlucky runs."""
    generator = np.random.Generator(np.random.PCG64(7))
    rule = RULE.model_copy(update={"margin": 0.0})
    rolled_back = 0
    for _ in range(200):
        canary, live = ArmSums(), ArmSums()
        for _ in range(10):
            for sums in (canary, live):
                for reward in generator.random(50) < 0.3:
                    sums.add((float(reward), 0.0, 0.0))
            if judge([step(canary, live)], rule).evidence == "roll back":
                rolled_back += 1
                break

    assert rolled_back <= 15
