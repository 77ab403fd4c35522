"""The window that histories make their states of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.history.stacking import StackingConfig
from agent_core.history.window import Window
from agent_core.types import Floats


def _vector(*numbers: float) -> Floats:
    return np.array(numbers, np.float32)


def test_a_window_by_hand() -> None:
    history = Window(3, observation_dim=2, action_dim=1)
    carry = history.initial_carry()

    first = history.state(carry, _vector(1, 2))
    carry = history.advance(carry, _vector(1, 2), _vector(9))
    second = history.state(carry, _vector(3, 4))

    # Rows of flag, observation, action; oldest first; the step of now has no action yet.
    assert first.reshape(3, 4).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 0]]
    assert second.reshape(3, 4).tolist() == [[0, 0, 0, 0], [1, 1, 2, 9], [1, 3, 4, 0]]


def test_what_lies_further_back_than_the_window_is_forgotten() -> None:
    history = Window(2, observation_dim=1, action_dim=1)
    carry = history.initial_carry()

    for number in (1, 2, 3):
        carry = history.advance(carry, _vector(number), _vector(-number))

    assert history.state(carry, _vector(4)).tolist() == [1, 3, -3, 1, 4, 0]


def test_actions_may_be_left_out() -> None:
    history = StackingConfig(window=2, include_actions=False).build(1, 5)

    carry = history.advance(history.initial_carry(), _vector(7), np.ones(5, np.float32))

    assert history.state_dim == 4
    assert history.state(carry, _vector(8)).tolist() == [1, 7, 1, 8]


def test_an_observation_of_nothing_still_tells_that_there_was_a_step() -> None:
    history = Window(2, observation_dim=0, action_dim=1)

    carry = history.advance(history.initial_carry(), _vector(), _vector(5))

    assert history.state(carry, _vector()).tolist() == [1, 5, 1, 0]


@given(
    data=st.data(), length=st.integers(2, 6), steps=st.integers(1, 12), with_actions=st.booleans()
)
def test_playing_an_episode_gives_the_states_that_slicing_it_gives(
    data: st.DataObject, length: int, steps: int, with_actions: bool
) -> None:
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    observations = data.draw(hnp.arrays(np.float32, (steps, 2), elements=numbers))
    actions = data.draw(hnp.arrays(np.float32, (steps, 3), elements=numbers))
    history = StackingConfig(window=length, include_actions=with_actions).build(2, 3)
    carry, played = history.initial_carry(), []

    for observation, action in zip(observations, actions, strict=True):
        played.append(history.state(carry, observation))
        carry = history.advance(carry, observation, action)

    taken = actions if with_actions else actions[:, :0]
    for now, state in enumerate(played):
        assert state.tobytes() == _sliced(observations, taken, now, length).tobytes()


def _sliced(observations: Floats, actions: Floats, now: int, length: int) -> Floats:
    """The window that ends with step `now`, taken from a whole episode."""
    steps = len(observations)
    rows = np.hstack([np.ones((steps, 1), np.float32), observations, actions])
    rows[now, 3:] = 0.0
    padded = np.vstack([np.zeros((length, rows.shape[1]), np.float32), rows[: now + 1]])
    window: Floats = padded[-length:].reshape(-1)
    return window


@pytest.mark.parametrize("window", [0, 1])
def test_a_window_spans_at_least_the_step_before(window: int) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        StackingConfig(window=window)
