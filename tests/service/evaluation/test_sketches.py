"""Features for reward models, and which actions are alike."""

from __future__ import annotations

import numpy as np
import pytest

from agent_core.types import ActionSet, Doubles
from service.evaluation.likeness import LEVELS, marginal_ratios
from service.evaluation.sketches import (
    ACTION_WIDTH,
    STATE_WIDTH,
    action_sketch,
    continuous_sketch,
    crossed,
    folded,
    state_sketches,
)
from tests.service.evaluation.logs import but, clicks


def _set(features: Doubles, ids: tuple[str, ...] = ("a", "b", "c")) -> ActionSet:
    return ActionSet(ids, features.astype(np.float32))


def test_a_small_state_comes_with_its_products() -> None:
    # 2, 3, 4, 6, 9.
    assert state_sketches(np.array([[2.0, 3.0]])).tolist() == [[2, 3, 4, 6, 9]]


@pytest.mark.parametrize("numbers", [1, 4, 5, 16, 300])
def test_no_sketch_is_longer_than_its_width(numbers: int) -> None:
    generator = np.random.default_rng(0)

    state = state_sketches(generator.normal(size=(3, numbers)))
    action = action_sketch(_set(generator.normal(size=(3, numbers))))

    assert state.shape[1] <= STATE_WIDTH
    assert action.shape == (3, ACTION_WIDTH)


def test_folding_keeps_inner_products_on_average() -> None:
    generator = np.random.default_rng(1)
    one, other = generator.normal(size=(2, 200, 64))

    exact = (one * other).sum(1)
    near = (folded(one, 16) * folded(other, 16)).sum(1)

    # The same 200 times but for noise of about 64 / sqrt(16) each, and 16 / sqrt(200) on average.
    assert (near - exact).mean() == pytest.approx(0.0, abs=4.5)


def test_actions_without_features_are_told_apart_by_their_ids() -> None:
    sketch = action_sketch(_set(np.zeros((3, 0))))

    assert len({tuple(row) for row in sketch.tolist()}) == 3
    assert sketch.sum(1).tolist() == [1, 1, 1]


def test_a_continuous_action_comes_with_its_squares() -> None:
    assert continuous_sketch(np.array([2.0, -3.0])).tolist() == [2, -3, 4, 9]


def test_features_cross_every_number_with_every_other_and_with_1() -> None:
    # (1, 2) times (1, 3, 4).
    assert crossed(np.array([[2.0]]), np.array([[3.0, 4.0]])).tolist() == [[1, 3, 4, 2, 6, 8]]


def test_the_mean_of_features_is_the_feature_of_the_mean() -> None:
    generator = np.random.default_rng(2)
    state, actions, shares = (
        generator.normal(size=(1, 3)),
        generator.normal(size=(4, 5)),
        np.array([0.1, 0.2, 0.3, 0.4]),
    )

    each = crossed(np.repeat(state, 4, 0), actions)

    assert shares @ each == pytest.approx(crossed(state, (shares @ actions)[None])[0])


# -- likeness ----------------------------------------------------------------------------------------


def test_actions_with_equal_features_count_together() -> None:
    # The second and the third look the same: (0 + 1) / (0.25 + 0.25), and (0.6 + 0.4) / 0.5.
    step = but(
        clicks(1, np.ones(3))[0],
        actions=_set(np.array([[1.0, 0.0], [0.0, 5.0], [0.0, 5.0]])),
        action=1,
        behaviour=np.array([0.5, 0.25, 0.25]),
    )

    ratios = marginal_ratios(step, np.array([0.0, 0.0, 1.0]))

    assert ratios[0] == 2.0
    assert len(ratios) == len(LEVELS)


def test_actions_that_differ_count_alone_at_the_finest_level() -> None:
    step = clicks(1, np.ones(3))[0]
    target = np.array([0.2, 0.3, 0.5])

    finest = marginal_ratios(step, target)[0]

    assert finest == pytest.approx(target[step.action] * 3)


def test_likeness_is_not_known_without_all_probabilities() -> None:
    step = but(clicks(1, np.ones(3))[0], behaviour=None)

    assert np.isnan(marginal_ratios(step, np.full(3, 1 / 3))).all()
