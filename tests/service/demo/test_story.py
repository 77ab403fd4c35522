"""The story's own arithmetic: what it claims of what was seen. Its chapters are tested where they are built."""

from __future__ import annotations

import asyncio

import pytest

from service.demo.account import Account, LogCheck
from service.demo.errors import DemoError
from service.demo.stage import shipped_policy
from service.demo.story.claims import Claim, account_claims
from service.demo.story.desk import number_of
from service.demo.story.picture import picture
from service.demo.story.traffic import Answered, Traffic, until
from service.policies.config import parse_policy

_NOTHING = LogCheck(0, 0, 0, 0, 0, 0)


def _traffic(weights: list[float], arms: tuple[str, ...] = ("live",)) -> Traffic:
    traffic = Traffic(None, seed=0)  # type: ignore[arg-type]  # nobody asks
    traffic.begin(0, "one chapter")
    for number, weight in enumerate(weights):
        arm = arms[number % len(arms)]
        traffic.answers.append(Answered(float(number), arm, "policy", "", "story@1", 1.0, weight))
        traffic.sent.decisions.add(f"d{number}")
    return traffic


def _claims(weights: list[float], counts: dict[str, int]) -> dict[str, Claim]:
    found = account_claims(Account(counts), _NOTHING, _traffic(weights))
    return {claim.name: claim for claim in found}


def test_a_log_whose_weights_cannot_be_one_on_average_is_told() -> None:
    counts = {"decisions": 4, "rewarded": 4}

    honest, wrong = _claims([0.5, 1.5, 0.7, 1.3], counts), _claims([2.0, 2.1, 2.0, 1.9], counts)

    assert honest["probabilities_true"].holds
    assert not wrong["probabilities_true"].holds


def test_an_account_must_have_every_answered_decision() -> None:
    weights = [0.5, 1.5]

    whole = _claims(weights, {"decisions": 2, "rewarded": 1, "defaulted": 1})
    pending = _claims(weights, {"decisions": 2, "rewarded": 1, "pending": 1})
    missing = _claims(weights, {"decisions": 1, "rewarded": 1})

    assert whole["account_adds_up"].holds
    assert not pending["account_adds_up"].holds
    assert not missing["account_adds_up"].holds


def test_a_claim_tells_its_numbers() -> None:
    claim = Claim("tripped", "it trips", True, {"after_s": 1.23456, "why": "it fell"})

    assert claim.told() == "after s 1.235, why it fell"


def test_the_picture_shows_who_decided_and_where_chapters_begin() -> None:
    chart = picture(_traffic([1.0] * 200, arms=("live", "canary")))

    right, canary, fallback = chart.lines
    assert (right.y, canary.y, fallback.y) == ([1.0, 1.0], [0.5, 0.5], [0.0, 0.0])
    assert chart.marks == [(0.0, "one chapter")]


def test_the_world_offers_the_right_label_among_others() -> None:
    traffic = _traffic([])
    traffic.shown = (3,)

    offers = [(traffic._drawn(), traffic._offered(3)) for _ in range(20)]

    assert {traffic._labels[at] for at, _ in offers} == {3}
    assert all("3" in actions and 2 <= len(actions) <= 10 for _, actions in offers)


def test_what_does_not_happen_in_time_ends_the_story() -> None:
    with pytest.raises(DemoError, match="waited 0 s for rain"):
        asyncio.run(until(lambda: False, "rain", 0.0))


def test_versions_have_numbers() -> None:
    assert number_of("story@42") == 42


def test_the_policy_of_the_story_is_valid_and_trips() -> None:
    config = parse_policy(shipped_policy("story"))

    assert config.trips.reward is not None
    assert config.rollout.gate is not None
