"""The worlds of the examples, and that their policies are valid. Their results need a service and minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.auction_recommender.environment import OBSERVATION_DIM, Feed
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


def test_the_likeliest_click_is_not_the_best_policy() -> None:
    def careful(feed: Feed) -> int:
        return int((feed.click_probabilities() - feed.candidates.features[:, -1]).argmax())

    greedy = alone(lambda feed: int(feed.click_probabilities().argmax()), visits=150)
    farsighted = alone(careful, visits=150)

    assert np.mean(farsighted) > 1.5 * np.mean(greedy)
