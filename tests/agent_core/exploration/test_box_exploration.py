"""What is played around the mean of a continuous policy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_core.exploration.gaussian import GaussianConfig
from agent_core.exploration.none import NoExplorationConfig
from agent_core.exploration.policy_sample import PolicySampleConfig
from agent_core.types import Box, Floats
from tests.support.strategies import seeds

_BOX = Box((-2.0, 0.0), (2.0, 1.0))
_STATE = np.zeros(1, np.float32)


class _Fixed:
    """A policy that always means the same, and draws its seed."""

    def __init__(self, *mean: float) -> None:
        self._mean = np.array(mean, np.float32)

    def mean(self, state: Floats) -> Floats:
        return self._mean

    def draw(self, state: Floats, seed: int) -> tuple[Floats, float]:
        return self._mean + np.float32(seed), 0.5


def test_without_exploration_the_mean_is_played_at_no_density() -> None:
    module = NoExplorationConfig().build_box()

    action, density = module.draw(_Fixed(1.0, 0.5), _STATE, _BOX, experience=0, seed=3)

    assert action.tolist() == [1.0, 0.5]
    assert density == math.inf


def test_a_policy_with_a_distribution_is_played_as_it_draws() -> None:
    module = PolicySampleConfig().build_box()

    action, density = module.draw(_Fixed(0.0, 0.0), _STATE, _BOX, experience=0, seed=1)

    assert action.tolist() == [1.0, 1.0]
    assert density == 0.5


@given(
    seed=seeds,
    sigma=st.floats(1e-4, 1e4),
    shares=st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)),
)
def test_noise_stays_in_the_box_with_a_density_and_follows_its_seed(
    seed: int, sigma: float, shares: tuple[float, float]
) -> None:
    scorer = _Fixed(4 * shares[0] - 2, shares[1])
    module = GaussianConfig(sigma=sigma).build_box()

    action, density = module.draw(scorer, _STATE, _BOX, experience=0, seed=seed)

    again = module.draw(scorer, _STATE, _BOX, experience=9, seed=seed)
    assert action.dtype == np.float32
    assert (action >= np.array(_BOX.low)).all()
    assert (action <= np.array(_BOX.high)).all()
    assert 0 < density < math.inf
    assert (again[0].tobytes(), again[1]) == (action.tobytes(), density)


def test_the_density_by_hand() -> None:
    # Sigma 1 is 2 in the first dimension and 0.5 in the second, so both limits are one deviation away:
    # phi(z1) phi(z2) / (2 * 0.5 * 0.6826895^2), at the z of what was drawn.
    module = GaussianConfig(sigma=1.0).build_box()

    action, density = module.draw(_Fixed(0.0, 0.5), _STATE, _BOX, experience=0, seed=11)

    z = (action.astype(float) - [0.0, 0.5]) / [2.0, 0.5]
    expected = np.exp(-0.5 * (z**2).sum()) / (2 * math.pi) / (2 * 0.5 * 0.6826895**2)
    assert density == pytest.approx(expected, rel=1e-6)


def test_very_wide_noise_is_uniform() -> None:
    module = GaussianConfig(sigma=1e4).build_box()

    density = module.draw(_Fixed(2.0, 0.0), _STATE, _BOX, experience=0, seed=5)[1]

    assert density == pytest.approx(1 / 4, rel=1e-6)


def test_sigma_moves_in_a_straight_line_with_experience() -> None:
    module = GaussianConfig(sigma=0.3, final_sigma=0.1, decay_transitions=100).build_box()
    scorer, wide = _Fixed(0.0), Box((-1.0,), (1.0,))

    drawn = [
        module.draw(scorer, _STATE, wide, experience=e, seed=2)[0].item() for e in (0, 50, 100, 900)
    ]

    # Seed 2 lies well inside, so the action is close to sigma times the same normal number.
    shares = np.array(drawn) / drawn[2]
    assert shares == pytest.approx([3, 2, 1, 1], rel=0.05)


def test_half_a_decay_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs both"):
        GaussianConfig(final_sigma=0.1)


@pytest.mark.parametrize("config", [GaussianConfig(), PolicySampleConfig()])
def test_noise_explores_no_action_sets(config: GaussianConfig | PolicySampleConfig) -> None:
    assert config.serves == {"box"}
    with pytest.raises(TypeError, match="no action sets"):
        config.build()
