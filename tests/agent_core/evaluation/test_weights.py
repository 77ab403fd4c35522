"""Weights that are kept small, by hand, and what they become at the ends of their parameter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.evaluation import weights
from agent_core.evaluation.moments import Moments, plain, self_normalized
from agent_core.evaluation.terms import importance
from agent_core.types import Doubles
from tests.agent_core.evaluation import oracle

_RATIO = np.array([0.5, 2.0, 4.0])

_ratios = st.lists(st.floats(0, 1e6), min_size=1, max_size=10).map(np.array)


def test_a_large_ratio_is_cut_down() -> None:
    assert weights.clipped(_RATIO, 2).tolist() == [0.5, 2.0, 2.0]


def test_a_large_ratio_is_left_to_the_model() -> None:
    assert weights.switched(_RATIO, 2).tolist() == [0.5, 2.0, 0.0]


def test_the_optimistic_weight_falls_again_beyond_the_root_of_its_limit() -> None:
    # 4 * 0.5 / 4.25, 4 * 2 / 8, 4 * 4 / 20.
    assert weights.optimistic(_RATIO, 4).tolist() == [2 / 4.25, 1.0, 0.8]


def test_the_sub_gaussian_weight_is_a_harmonic_mean_with_1() -> None:
    # 0.5 / (0.5 + 0.25), 2 / (0.5 + 1), 4 / (0.5 + 2).
    assert weights.sub_gaussian(_RATIO, 0.5) == pytest.approx([2 / 3, 4 / 3, 1.6])


@given(_ratios, st.floats(0.01, 1))
def test_no_sub_gaussian_weight_is_above_the_inverse_of_its_rate(
    ratio: Doubles, rate: float
) -> None:
    assert (weights.sub_gaussian(ratio, rate) <= (1 + 1e-12) / rate).all()


@given(_ratios)
def test_without_a_limit_every_weight_is_the_ratio(ratio: Doubles) -> None:
    assert (weights.clipped(ratio, 1e6) == ratio).all()
    assert (weights.switched(ratio, 1e6) == ratio).all()
    assert (weights.sub_gaussian(ratio, 0) == ratio).all()
    assert weights.optimistic(ratio, 1e30) == pytest.approx(ratio)


def test_an_action_that_was_never_tried_is_judged_by_its_like() -> None:
    # Three actions; the target takes the third, which the log never does, but the second looks the
    # same: (0 + 0 + 1) / (0 + 0.5 + 0).
    target, behaviour = np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.0])
    looks_like_this = np.array([0.0, 1.0, 1.0])

    weight = weights.marginalized(target, behaviour, looks_like_this, np.array([0, 3]))

    assert weight.tolist() == [2.0]


def test_an_embedding_that_is_the_action_gives_the_ratio() -> None:
    target, behaviour = np.array([0.2, 0.8, 0.6, 0.4]), np.array([0.5, 0.5, 0.1, 0.9])
    is_taken = np.array([0.0, 1.0, 1.0, 0.0])

    weight = weights.marginalized(target, behaviour, is_taken, np.array([0, 2, 4]))

    assert weight == pytest.approx([1.6, 6.0])


def test_marginalized_weights_give_the_estimates_of_the_other_library() -> None:
    stored = oracle.arrays("synthetic")
    theirs = oracle.expected()["synthetic"]["obp"]["embedding"]
    target, behaviour = stored["embedded_target"].ravel(), stored["embedded_behaviour"].ravel()
    # [A, values, 2] at the logged values of both dimensions: [T, A] each.
    first, second = (
        stored["embedded_embedding_given_action"][:, stored["embedded_embedding"][:, i], i].T
        for i in (0, 1)
    )
    offsets = np.arange(401) * 4

    joint, one, other = (
        weights.marginalized(target, behaviour, given_action.ravel(), offsets)
        for given_action in (first * second, first, second)
    )

    reward = stored["embedded_reward"]
    mips = plain(Moments.of(importance(reward, joint))).value
    assert mips == pytest.approx(theirs["mips"], abs=1e-9)
    # Its self-normalized form takes the dimensions for independent, whatever the action.
    snmips = self_normalized(Moments.of(importance(reward, one * other))).value
    assert snmips == pytest.approx(theirs["snmips"], abs=1e-9)


def test_a_rare_action_counts_most_in_the_most_robust_fit() -> None:
    # 2 * 0.75 / 0.25, and a certain action, which cannot add variance, counts nothing.
    counts = weights.most_robust(np.array([2.0, 1.0]), np.array([0.25, 1.0]))

    assert counts.tolist() == [6.0, 0.0]
