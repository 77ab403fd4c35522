"""Metrics: names that Prometheus' linter accepts, and the two functions that keep them true."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, generate_latest

from service import metrics
from tests.support.promtool import complaints


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def policy() -> Iterator[str]:
    """A name that no other test counts under."""
    yield "of-this-test"
    metrics.forget_judgements()


def test_rewards_of_any_sign_keep_their_mean_and_their_squares(policy: str) -> None:
    for reward in (2.0, -3.0, 0.5):
        metrics.count_reward(policy, "canary", reward, cost=0.25)

    labels = {"policy": policy, "arm": "canary"}
    gains, losses = (
        value(f"nacre_arm_{part}_sum_total", **labels) or 0.0 for part in ("rewards", "losses")
    )
    assert (gains, losses) == (2.5, 3.0)
    assert value("nacre_arm_rewards_total", **labels) == 3
    assert value("nacre_arm_rewards_squares_total", **labels) == 13.25  # 4 + 9 + 0.25
    assert value("nacre_arm_cost_sum_total", **labels) == 0.75


def test_a_worker_that_is_no_longer_in_charge_shows_no_verdicts(policy: str) -> None:
    metrics.FALLBACK_ACTIVE.labels(policy).set(1)
    metrics.VERSION.labels(policy).set(3)
    metrics.TRIPS.labels(policy, "reward").inc()

    metrics.forget_judgements()

    assert value("nacre_fallback_active", policy=policy) is None
    assert value("nacre_model_version", policy=policy) == 3
    assert value("nacre_trips_total", policy=policy, signal="reward") == 1
    metrics.VERSION.remove(policy)


def test_prometheus_linter_accepts_every_name() -> None:
    assert complaints("check", "metrics", given=generate_latest().decode()) == ""
