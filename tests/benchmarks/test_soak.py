from __future__ import annotations

import pytest

from benchmarks.soak import Reading, adds_up, policy_file, trend
from service.policies.config import parse_policy

MIB = 2**20


def readings(*megabytes: float) -> list[Reading]:
    return [
        Reading(1000 * at, float(at), {"serve": int(m * MIB)}) for at, m in enumerate(megabytes)
    ]


def test_memory_that_fills_up_in_the_first_half_is_flat() -> None:
    found = trend(readings(10, 200, 300, 300, 300, 300), "serve")

    assert found.is_flat
    assert found.rise == 0


def test_memory_that_rises_all_the_time_is_not_flat() -> None:
    # From 3,000 of 6,000 decisions on: 130, 140, 150, 160 MiB, which is 30 MiB more
    found = trend(readings(100, 110, 120, 130, 140, 150, 160), "serve")

    assert not found.is_flat
    assert found.rise == 30 * MIB


def test_one_high_reading_is_no_trend() -> None:
    assert trend(readings(100, 100, 100, 100, 100, 180, 100), "serve").is_flat


@pytest.mark.parametrize(("rewarded", "is_right"), [(6, True), (5, False)])
def test_every_decision_must_be_accounted_for(rewarded: int, is_right: bool) -> None:
    account = {
        "decisions": 10,
        "rewarded": rewarded,
        "defaulted": 3,
        "pending": 1,
        "log_length": 99,
    }

    assert adds_up(account) is is_right


def test_the_policy_of_the_soak_is_valid() -> None:
    assert parse_policy(policy_file()).retention_s == 3.0
