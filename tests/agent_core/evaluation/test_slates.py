"""Slates: against another library as episodes, and the pseudo-inverse over every slate."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.evaluation.logged import LoggedDecisions
from agent_core.evaluation.moments import Moments, self_normalized
from agent_core.evaluation.sequential import (
    StepWeights,
    episode_values,
    running_products,
    whole_products,
)
from agent_core.evaluation.slates import pseudo_inverse_weights
from agent_core.evaluation.terms import importance
from agent_core.types import Doubles
from tests.agent_core.evaluation import oracle


def test_a_slate_is_an_episode_without_discount() -> None:
    stored = oracle.arrays("synthetic")
    reward, values = stored["slate_reward"].ravel(), stored["slate_value"].ravel()
    log = LoggedDecisions(
        reward=reward,
        propensity=stored["slate_propensity"].ravel(),
        action=stored["slate_action"].ravel().astype(np.int64),
        target=stored["slate_target"].ravel(),
        offsets=np.arange(1201) * 5,
    )
    offsets = np.arange(401) * 3
    own = log.ratio()
    above, whole = running_products(own, offsets), whole_products(own, offsets)
    nothing = np.zeros(1200)
    without, model = (nothing, nothing), (log.taken(values), log.expected(values))

    def mean(weight: Doubles, both: tuple[Doubles, Doubles] = without) -> float:
        return float(episode_values(reward, weight, *both, offsets, discount=1.0).mean())

    def weighted(weight: Doubles) -> float:
        return mean(StepWeights.of(weight, offsets).normalized(weight, offsets))

    ours = {
        "sips": mean(whole),
        "snsips": weighted(whole),
        "iips": mean(own),
        "sniips": weighted(own),
        "rips": mean(above),
        "snrips": weighted(above),
        "cascade-dr": mean(above, model),
    }
    theirs = oracle.expected()["synthetic"]["obp"]["slate"]
    assert ours == pytest.approx(theirs, abs=1e-9, rel=0)


def test_one_weight_for_the_whole_slate_is_importance_sampling_of_slates() -> None:
    # Weights 2 and 1, rewards of both slots together 3 and 6.
    ratio, reward, offsets = (
        np.array([4.0, 0.5, 1, 1]),
        np.array([1.0, 2, 2, 4]),
        np.array([0, 2, 4]),
    )
    weight, nothing = whole_products(ratio, offsets), np.zeros(4)

    added = episode_values(reward, weight, nothing, nothing, offsets, 1.0)

    assert added.tolist() == [6.0, 6.0]
    of_slates = self_normalized(Moments.of(importance(np.array([3.0, 6.0]), weight[::2])))
    assert of_slates.value == pytest.approx(4.0)


_parts = hnp.arrays(np.float64, (2, 3), elements=st.floats(0.1, 1))


def _one_hot(slates: list[tuple[int, ...]]) -> Doubles:
    """`[n, 6]`: which action of three is in which of two slots."""
    pairs: Doubles = np.eye(3)[np.array(slates)].reshape(len(slates), 6)
    return pairs


def _probabilities(parts: Doubles, slates: list[tuple[int, ...]]) -> Doubles:
    """`[n]`, in proportion to a product of one part for each slot."""
    shares: Doubles = np.array([parts[0, first] * parts[1, second] for first, second in slates])
    shares /= shares.sum()
    return shares


@pytest.mark.parametrize(
    "slates", [list(product(range(3), repeat=2)), list(permutations(range(3), 2))]
)
@given(_parts, _parts, hnp.arrays(np.float64, 6, elements=st.floats(-5, 5)))
def test_a_reward_that_is_a_sum_over_slots_is_estimated_right_on_average(
    slates: list[tuple[int, ...]], behaviour: Doubles, target: Doubles, worth: Doubles
) -> None:
    """Whether or not an action may come twice."""
    shown, likely = _one_hot(slates), _probabilities(behaviour, slates)
    wanted = _probabilities(target, slates)
    together = np.einsum("n,nm,nk->mk", likely, shown, shown)
    every = len(slates)

    weights = pseudo_inverse_weights(
        shown, np.tile(wanted @ shown, (every, 1)), np.tile(together, (every, 1, 1))
    )

    reward = shown @ worth
    assert likely @ (weights * reward) == pytest.approx(wanted @ reward, abs=1e-6)


def test_independent_slots_have_a_weight_in_closed_form() -> None:
    # 1 - K + the sum of the ratios of the slots (Swaminathan et al. 2017): 1 - 2 + 0.6 / 0.5 + 0.9 / 0.25.
    slates = [(a, b) for a in range(2) for b in range(2)]
    shown = np.eye(2)[np.array(slates)].reshape(4, 4)
    likely = np.array([0.5 * 0.75, 0.5 * 0.25, 0.5 * 0.75, 0.5 * 0.25])
    together = np.einsum("n,nm,nk->mk", likely, shown, shown)[None]

    weight = pseudo_inverse_weights(shown[1:2], np.array([[0.6, 0.4, 0.1, 0.9]]), together)

    assert weight == pytest.approx([-1 + 1.2 + 3.6])
