from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from benchmarks.paper.environments.deep_sea import OPTIMAL_RETURN, DeepSea
from benchmarks.paper.environments.label_bandit import LabelBandit, LabelTable, load_table
from benchmarks.paper.environments.mean_variance_bandit import BOLD, CAREFUL, MeanVarianceBandit
from benchmarks.paper.environments.partial_cartpole import PartialCartPole
from benchmarks.paper.environments.wrappers import ChargesEnergy, DeletesAction

LETTERS = LabelTable(
    np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], np.float32), np.array([2, 0, 1])
)
ENVIRONMENTS: dict[str, Callable[[], gymnasium.Env[Any, Any]]] = {
    "deep sea": lambda: DeepSea(4),
    "partial cartpole": PartialCartPole,
    "mean-variance bandit": MeanVarianceBandit,
    "label bandit": lambda: LabelBandit(LETTERS),
    "deletes an action": lambda: DeletesAction(gymnasium.make("CartPole-v1"), 1),
}


def played(environment: gymnasium.Env[Any, Any], steps: int, seed: int) -> list[tuple[Any, ...]]:
    """Observations, rewards and ends under the first action, from `seed` on."""
    seen: list[tuple[Any, ...]] = [(environment.reset(seed=seed)[0].tolist(),)]
    for _ in range(steps):
        observed, reward, terminated, truncated, _ = environment.step(0)
        seen.append((observed.tolist(), reward, terminated))
        if terminated or truncated:
            seen.append((environment.reset()[0].tolist(),))
    return seen


@pytest.mark.parametrize("name", ["deep sea", "mean-variance bandit", "label bandit"])
def test_it_keeps_to_the_interface(name: str) -> None:
    check_env(ENVIRONMENTS[name](), skip_render_check=True)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_same_seed_gives_the_same_episodes(name: str) -> None:
    first, second = (played(ENVIRONMENTS[name](), 6, seed=5) for _ in range(2))

    assert first == second


# -- deep sea -----------------------------------------------------------------------------------


def test_going_right_all_the_way_is_worth_the_optimum() -> None:
    sea = DeepSea(10)
    sea.reset()

    rewards = [sea.step(sea.rightward)[1] for _ in range(10)]

    # Ten steps to the right cost 0.001 each, and the treasure is worth 1.
    assert sum(rewards) == pytest.approx(1 - 10 * 0.001)
    assert pytest.approx(1 - 10 * 0.001) == OPTIMAL_RETURN


def test_one_step_to_the_left_loses_the_treasure() -> None:
    sea = DeepSea(3)
    sea.reset()

    total = sea.step(sea.rightward)[1]
    total += sea.step(1 - sea.rightward)[1]
    _, last, terminated, truncated, _ = sea.step(sea.rightward)

    # Two steps to the right, for 0.01 / 3 each
    assert total + last == pytest.approx(-0.02 / 3)
    assert (terminated, truncated) == (True, False)


def test_what_an_action_means_differs_between_cells() -> None:
    meanings = set()
    sea = DeepSea(10)
    sea.reset()
    for _ in range(10):
        meanings.add(sea.rightward)
        sea.step(sea.rightward)

    assert meanings == {0, 1}


# -- partial cartpole ---------------------------------------------------------------------------


def test_it_shows_position_and_angle_and_nothing_at_every_second_step() -> None:
    whole, part = gymnasium.make("CartPole-v1"), PartialCartPole()
    full, _ = whole.reset(seed=3)
    seen, _ = part.reset(seed=3)
    shown, states = [seen], [full]

    for action in (0, 1, 0, 1):
        states.append(whole.step(action)[0])
        shown.append(part.step(action)[0])

    assert all(part.observation_space.contains(one) for one in shown)
    for at in (0, 2, 4):
        # An episode ends at 2.4 metres and at 12 degrees
        shares = states[at][[0, 2]] / np.array([2.4, np.radians(12)])
        np.testing.assert_allclose(shown[at], shares, rtol=1e-6)
    for at in (1, 3):
        assert shown[at].tolist() == [0.0, 0.0]


# -- bandits ------------------------------------------------------------------------------------


def test_the_bold_action_pays_more_and_varies_more() -> None:
    bandit = MeanVarianceBandit()
    bandit.reset(seed=0)

    rewards = {
        action: np.array([bandit.step(action)[1] for _ in range(4_000)])
        for action in (CAREFUL, BOLD)
    }

    # Three standard errors: 3 * sqrt(1 / 4000) = 0.05 and 3 * sqrt(9 / 4000) = 0.14
    assert rewards[CAREFUL].mean() == pytest.approx(6, abs=0.05)
    assert rewards[BOLD].mean() == pytest.approx(10, abs=0.15)
    assert rewards[BOLD].var() == pytest.approx(9, rel=0.1)


def test_only_the_label_of_the_row_that_is_shown_pays() -> None:
    bandit = LabelBandit(LETTERS, noise=0.0)
    label_of = {(0.0, 1.0): 2, (1.0, 0.0): 0, (1.0, 1.0): 1}

    for seed in range(8):
        observed, _ = bandit.reset(seed=seed)
        paid = [bandit.step(action)[1] for action in range(3)]
        assert paid == [float(action == label_of[tuple(observed.tolist())]) for action in range(3)]


def test_a_table_is_scaled_by_column(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    np.savez(
        path, X=np.array([[1, 7], [3, 7]], np.uint8), y=np.array([0, 1], np.uint8), names=["a", "b"]
    )

    table = load_table(path)

    # Mean 2 and standard deviation 1 in the first column; the second never changes.
    assert table.rows.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert table.classes == 2


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"X": np.zeros((2, 1))}, "lacks y"),
        ({"X": np.zeros((2, 1)), "y": np.zeros(3)}, "2 rows and 3 labels"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(
    arrays: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "table.npz", **arrays)

    with pytest.raises(ValueError, match=complaint):
        load_table(tmp_path / "table.npz")


# -- wrappers -----------------------------------------------------------------------------------


def test_the_action_is_away_at_every_fourth_step() -> None:
    environment = DeletesAction(gymnasium.make("CartPole-v1"), 1)
    _, info = environment.reset(seed=0)

    first = info["available_actions"]
    later = [environment.step(action)[4]["available_actions"] for action in (0, 1, 0, 0, 1, 0)]

    assert [first, *later] == [(0, 1), (0, 1), (0, 1), (0,), (0, 1), (0, 1), (0, 1)]


def test_an_action_that_is_away_cannot_be_taken() -> None:
    environment = DeletesAction(gymnasium.make("CartPole-v1"), 1)
    environment.reset(seed=0)
    for action in (0, 1, 0):
        environment.step(action)

    with pytest.raises(ValueError, match="take one of"):
        environment.step(1)


def test_the_cost_is_the_squared_norm_of_the_action() -> None:
    environment = ChargesEnergy(gymnasium.make("Pendulum-v1"))
    environment.reset(seed=0)

    info = environment.step(np.array([-1.5], np.float32))[4]

    assert info["cost"] == 2.25
