"""The worlds of the examples, and that their policies are valid. Their results need a service and minutes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from examples.ads_bidding.environment import (
    DAY_BUDGET,
    HIGHEST_MULTIPLIER,
    AuctionDay,
    read_prices,
    trust_in,
)
from examples.ads_bidding.run import OFFLINE, RULE, Day, day, total
from examples.auction_recommender.environment import OBSERVATION_DIM, TOPICS, Feed
from examples.auction_recommender.run import alone
from examples.creative_selection.environment import CreativeSelection
from service.policies.config import load_policy

POLICIES = sorted(Path("examples").glob("*/policy.yaml"))


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.parent.name)
def test_the_policy_is_valid_and_named_as_its_folder(path: Path) -> None:
    assert load_policy(path).policy == path.parent.name


def test_every_example_says_how_to_run_it() -> None:
    for path in POLICIES:
        name, text = path.parent.name, (path.parent / "README.md").read_text("utf-8")

        assert f"nacre up --policies examples/{name}" in text
        assert f"python -m examples.{name}.run" in text


# -- creatives ----------------------------------------------------------------------------------


def test_other_creatives_are_available_each_time_and_no_other_can_be_shown() -> None:
    market = CreativeSelection()
    first = market.reset(seed=0)[1]["available_actions"]
    second = market.reset()[1]["available_actions"]

    assert first != second
    assert len(set(second)) == len(second)
    missing = next(one for one in range(60) if one not in second)
    with pytest.raises(ValueError, match="does not exist"):
        market.step(missing)


def test_no_creative_is_best_for_all_content() -> None:
    market = CreativeSelection()
    best = set()
    for number in range(200):
        available = market.reset(seed=0 if number == 0 else None)[1]["available_actions"]
        best.add(available[int(market.click_probabilities().argmax())])

    assert len(best) > 20


def test_clicks_come_as_often_as_said() -> None:
    market = CreativeSelection()
    clicks, chances = [], []
    for number in range(4_000):
        available = market.reset(seed=0 if number == 0 else None)[1]["available_actions"]
        chances.append(market.click_probabilities()[0])
        clicks.append(market.step(available[0])[1])

    # Three standard errors of 4,000 draws are at most 3 * 0.5 / sqrt(4000) = 0.024.
    assert np.mean(clicks) == pytest.approx(np.mean(chances), abs=0.024)


# -- feed ---------------------------------------------------------------------------------------


def test_candidates_are_new_at_every_step() -> None:
    feed = Feed()
    observed, _ = feed.reset(seed=0)
    first = feed.candidates
    feed.step(0)

    assert observed.shape == (OBSERVATION_DIM,)
    assert 100 <= len(first.ids) <= 200
    assert len(first.ids) == len(first.features)
    assert not set(first.ids) & set(feed.candidates.ids)


def test_a_step_shows_the_liking_of_one_topic_and_four_steps_show_all_of_it() -> None:
    feed = Feed()
    steps = [feed.reset(seed=0)[0][:TOPICS]]
    steps += [feed.step(0)[0][:TOPICS] for _ in range(TOPICS - 1)]

    assert [list(np.flatnonzero(step)) for step in steps] == [[0], [1], [2], [3]]
    # What is liked has the length 1.
    assert np.linalg.norm(np.sum(steps, axis=0)) == pytest.approx(1.0)


def test_the_likeliest_click_is_not_the_best_policy() -> None:
    def careful(feed: Feed) -> int:
        return int((feed.click_probabilities() - feed.candidates.features[:, -1]).argmax())

    greedy = alone(lambda feed: int(feed.click_probabilities().argmax()), visits=150)
    farsighted = alone(careful, visits=150)

    assert np.mean(farsighted) > 1.5 * np.mean(greedy)


# -- auctions -----------------------------------------------------------------------------------


def bid_all_day(multiplier: float) -> Day:
    market = AuctionDay()
    market.reset(seed=0)
    return total(day(market, lambda _: multiplier))


def test_a_day_of_auctions_is_a_proper_environment() -> None:
    check_env(AuctionDay(), skip_render_check=True)


def test_who_bids_nothing_wins_nothing_and_pays_nothing() -> None:
    assert bid_all_day(0.0) == Day(0.0, 0.0)


def test_the_highest_bid_overspends_and_nobody_stops_it() -> None:
    assert bid_all_day(HIGHEST_MULTIPLIER).cost > 1.5 * DAY_BUDGET


def test_a_huge_bid_wins_everything_at_the_price_of_the_market() -> None:
    market = AuctionDay(np.ones(1))
    market.reset(seed=0)
    observed, _, _, _, info = market.step(np.array([1e6], np.float32))

    # Every price is the same, so the mean price paid is that price: 50 auctions of 0.2 times it are its cost.
    _, budget, won, paid, _ = observed.tolist()
    assert won == 1.0
    assert info["cost"] == pytest.approx(50 * 0.2 * paid)
    assert budget == pytest.approx(1 - info["cost"] / DAY_BUDGET)


def test_a_day_is_cut_after_24_hours_and_the_next_morning_is_seen() -> None:
    market = AuctionDay()
    first, _ = market.reset(seed=0)
    hours = list(day(market, lambda _: 0.4))

    assert [hour.is_cut for hour in hours] == [False] * 23 + [True]
    assert hours[-1].follows[:4].tolist() == first[:4].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_people_are_worth_less_after_many_ads() -> None:
    market, rested = AuctionDay(np.full(1, 1e-9)), AuctionDay(np.full(1, 1e-9))
    for one in (market, rested):
        one.reset(seed=0)
    market.step(np.array([1.0], np.float32))
    rested.step(np.array([0.0], np.float32))

    # The same impressions are won for nothing. After one hour in which everything was won, half of 0.4 is lost.
    tired_value = market.step(np.array([1.0], np.float32))[1]
    rested_value = rested.step(np.array([1.0], np.float32))[1]
    assert tired_value == pytest.approx(0.8 * rested_value)


def test_the_rule_spends_the_budget() -> None:
    market = AuctionDay()
    market.reset(seed=0)
    costs = [total(day(market, lambda _: RULE)).cost for _ in range(150)]

    assert np.mean(costs) == pytest.approx(DAY_BUDGET, rel=0.05)


def test_trust_in_the_estimates_is_right_on_average() -> None:
    assert np.mean([trust_in(hour) for hour in range(24)]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("packed", [False, True])
def test_prices_of_a_file_are_read_over_their_mean(tmp_path: Path, packed: bool) -> None:
    text = "day,PayingPrice,IsClick\n2013-10-19,10,0\n2013-10-19,30,1\n"
    path = tmp_path / ("prices.csv.gz" if packed else "prices.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())

    # The mean of 10 and 30 is 20.
    assert read_prices(path).tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("day,price\n1,10\n", "no column `PayingPrice`"),
        ("PayingPrice\n", "no prices"),
        ("PayingPrice\n0\n", "not a number above 0"),
        ("PayingPrice\nnan\n", "not a number above 0"),
        ("PayingPrice\nten\n", "not a number above 0"),
    ],
)
def test_a_file_without_usable_prices_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text, "utf-8")

    with pytest.raises(ValueError, match=problem):
        read_prices(path)


def test_the_policy_that_learns_from_the_log_alone_is_valid_too() -> None:
    offline = load_policy(Path("examples/ads_bidding/policy_offline.yaml"))

    assert offline.policy == OFFLINE
    assert offline.agent.schedule.updates_per_transition == 0
