"""The schedules and bonuses of exploration, by hand; the rules themselves are in test_choice."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from agent_core.exploration.boltzmann import BoltzmannConfig
from agent_core.exploration.epsilon_greedy import EpsilonGreedyConfig
from agent_core.exploration.none import NoExplorationConfig
from agent_core.exploration.square_cb import SquareCbConfig
from agent_core.exploration.thompson import ThompsonConfig
from agent_core.exploration.ucb import UcbConfig
from agent_core.interfaces import ExplorationConfig
from agent_core.types import ActionScores

_SCORES = ActionScores(
    np.array([1.0, 0.8, 0.0]),
    # Deviations: 0, 0.5 (a 3-4-5 triangle), 0.
    np.array([[0.0, 0.0], [0.3, 0.4], [0.0, 0.0]]),
)


def _probabilities(config: ExplorationConfig, experience: int = 0, seed: int = 0) -> list[float]:
    module = config.build()
    return list(module.probabilities(_SCORES, experience=experience, seed=seed))


def test_without_exploration_the_best_is_certain() -> None:
    assert _probabilities(NoExplorationConfig()) == [1, 0, 0]


def test_epsilon_moves_in_a_straight_line_with_experience() -> None:
    config = EpsilonGreedyConfig(epsilon=0.9, final_epsilon=0.3, decay_transitions=100)

    others = [_probabilities(config, experience)[2] for experience in (0, 50, 100, 1000)]

    # Epsilon is 0.9, 0.6, 0.3, 0.3; a third of it goes to each action.
    assert others == pytest.approx([0.3, 0.2, 0.1, 0.1])


def test_epsilon_stays_put_without_a_decay() -> None:
    config = EpsilonGreedyConfig(epsilon=0.3)

    assert _probabilities(config, 0) == _probabilities(config, 10**9)


def test_half_a_decay_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs both"):
        EpsilonGreedyConfig(final_epsilon=0.1)


@pytest.mark.parametrize(("alpha", "chosen"), [(0.0, 0), (0.39, 0), (0.41, 1)])
def test_ucb_adds_alpha_deviations(alpha: float, chosen: int) -> None:
    # 0.8 + 0.5 alpha overtakes 1.0 at alpha = 0.4.
    assert _probabilities(UcbConfig(alpha=alpha))[chosen] == 1.0


def test_thompson_plays_an_action_as_often_as_it_could_be_the_best() -> None:
    shares = _probabilities(ThompsonConfig(draws=10_000))

    # P(0.8 + 0.5 z > 1) = 1 - Phi(0.4) = 0.3446; four standard errors are 0.019.
    assert shares == pytest.approx([0.6554, 0.3446, 0.0], abs=0.019)


def test_thompson_at_scale_zero_is_greedy() -> None:
    assert _probabilities(ThompsonConfig(scale=0)) == [1, 0, 0]


def test_thompson_estimates_anew_from_each_seed_and_alike_from_the_same() -> None:
    config = ThompsonConfig(draws=10_000)

    assert _probabilities(config, seed=1) == _probabilities(config, seed=1)
    assert _probabilities(config, seed=1) != _probabilities(config, seed=2)


def test_square_cb_grows_greedier_with_the_square_root_of_experience() -> None:
    config = SquareCbConfig(scale=5)

    new, old = _probabilities(config, 0), _probabilities(config, 400)

    # Gap 1: 1 / (3 + 5) without experience, 1 / (3 + 5 * 20) after 400 transitions.
    assert new[2] == pytest.approx(1 / 8)
    assert old[2] == pytest.approx(1 / 103)


def test_boltzmann_is_a_softmax_at_its_temperature() -> None:
    weights = np.exp([1.0 / 0.5, 0.8 / 0.5, 0.0])

    assert _probabilities(BoltzmannConfig(temperature=0.5)) == pytest.approx(
        (weights / weights.sum()).tolist()
    )
