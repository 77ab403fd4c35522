"""Deep exploration: shares of members, and one member for an episode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.agent import seed_of
from agent_core.exploration.deep import Deep, DeepConfig
from agent_core.types import ActionScores

# Three actions, four members: the first two like action 0, the third likes 2, the last 1 and 2 equally.
_MEMBERS = np.array(
    [
        [3.0, 5.0, 0.0, 1.0],
        [1.0, 2.0, 1.0, 4.0],
        [0.0, 1.0, 6.0, 4.0],
    ]
)
_SCORES = ActionScores(_MEMBERS.mean(axis=1), members=_MEMBERS)


def _probabilities(scores: ActionScores, seed: int = 0) -> list[float]:
    return list(Deep().probabilities(scores, experience=0, seed=seed))


def test_the_probability_is_the_share_of_members_with_ties_split() -> None:
    # 2 of 4; half a member of 4; one and a half of 4.
    assert _probabilities(_SCORES) == [0.5, 0.125, 0.375]


def test_over_episodes_actions_are_picked_as_often_as_their_probability_says() -> None:
    # 20,000 episodes: a standard error below 0.0036.
    episodes = [seed_of(str(number), "") for number in range(20_000)]

    picks = [Deep().pick(_SCORES, episode, experience=0) for episode in episodes]

    shares = np.bincount(picks, minlength=3) / len(picks)
    np.testing.assert_allclose(shares, _probabilities(_SCORES), atol=0.015)


@given(episode=st.integers(0, 2**64 - 1), seed=st.integers(0, 2**64 - 1))
def test_an_episode_never_picks_what_has_no_probability(episode: int, seed: int) -> None:
    scores = ActionScores(np.zeros(4), members=np.vstack([_MEMBERS, np.full(4, -9.0)]))

    assert _probabilities(scores, seed)[Deep().pick(scores, episode, experience=0)] > 0


@given(episode=st.integers(0, 2**64 - 1))
def test_an_episode_keeps_to_its_member_in_every_state(episode: int) -> None:
    # In each state another member is alone in liking action 0: only one of four states can be hers.
    states = [np.where(np.arange(4) == member, 1.0, -1.0) for member in range(4)]
    scores = [ActionScores(np.zeros(2), members=np.stack([s, np.zeros(4)])) for s in states]

    assert [Deep().pick(one, episode, experience=0) for one in scores].count(0) == 1


def test_it_needs_members_and_keeps_to_one() -> None:
    assert DeepConfig.needs == {"members"}
    assert DeepConfig.is_consistent
    with pytest.raises(AssertionError, match="members"):
        _probabilities(ActionScores(np.zeros(2)))
