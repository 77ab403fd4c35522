"""Episodes are gathered from steps that come in any order, and given out once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_core.replay.episodic import EpisodicConfig, EpisodicRollouts
from agent_core.training.collate import block_of
from agent_core.types import ActionSet, ProblemSpec, Rollout, Transition
from tests.support.learners import fingerprint
from tests.support.transitions import a_transition

_SPEC = ProblemSpec(state_dim=2, action_dim=3, max_actions=3)
_NEXT: dict[str, Any] = {
    "next_state": np.array([3.0, 4.0], np.float32),
    "next_actions": ActionSet(("a",), np.ones((1, 3), np.float32)),
    "terminated": False,
}


def _step(episode: str, step: int, end: str | None = None) -> Transition:
    """A step whose reward says where it belongs: 100 for episode "b", plus its number."""
    where = {"episode_id": episode, "step": step, "reward": 100.0 * (episode == "b") + step}
    ends = {"terminated": {"terminated": True}, "truncated": _NEXT | {"truncated": True}}
    return a_transition(**where, **(_NEXT if end is None else ends[end]))


def _episode(name: str, length: int, end: str = "terminated") -> list[Transition]:
    return [_step(name, number) for number in range(length - 1)] + [_step(name, length - 1, end)]


def _buffer(**settings: int) -> EpisodicRollouts:
    return EpisodicConfig(**settings).build(_SPEC, torch.device("cpu"))


def _filled(transitions: Iterable[Transition], **settings: int) -> EpisodicRollouts:
    buffer = _buffer(**settings)
    buffer.extend(block_of(list(transitions), _SPEC))
    return buffer


def _rewards(rollout: Rollout | None) -> list[list[float]]:
    """The rewards of each episode."""
    assert rollout is not None
    return [part.tolist() for part in rollout.batch.reward.tensor_split(rollout.offsets[1:-1])]


def test_a_rollout_is_due_when_whole_episodes_have_that_many_transitions() -> None:
    buffer = _filled([*_episode("a", 2), *_episode("b", 3)[:-1]], rollout_transitions=5)
    assert buffer.take() is None

    buffer.extend(block_of([_step("b", 2, "terminated")], _SPEC))

    assert _rewards(buffer.take()) == [[0, 1], [100, 101, 102]]
    assert buffer.take() is None
    assert len(buffer) == 0


@given(order=st.permutations(range(7)))
def test_the_order_in_which_steps_come_does_not_matter(order: Sequence[int]) -> None:
    steps = [*_episode("a", 4), *_episode("b", 3)]

    buffer = _filled([steps[i] for i in order], rollout_transitions=7)

    assert sorted(_rewards(buffer.take())) == [[0, 1, 2, 3], [100, 101, 102]]


def test_a_step_that_comes_twice_counts_once() -> None:
    first, second, third = _episode("a", 3)

    buffer = _filled([first, second, second, first, third], rollout_transitions=3)

    assert _rewards(buffer.take()) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("end", "bootstraps"), [("terminated", [1.0, 0.0]), ("truncated", [1.0, 1.0])]
)
def test_the_last_step_bootstraps_unless_the_episode_terminated(
    end: str, bootstraps: list[float]
) -> None:
    rollout = _filled(_episode("a", 2, end), rollout_transitions=2).take()

    assert rollout is not None
    assert rollout.batch.bootstraps.tolist() == bootstraps


def test_an_episode_ends_where_no_next_state_is_known() -> None:
    unknown = a_transition(episode_id="a", step=1, terminated=False)

    rollout = _filled([_step("a", 0), unknown], rollout_transitions=2).take()

    assert rollout is not None
    assert rollout.batch.bootstraps.tolist() == [1.0, 0.0]


def test_an_endless_episode_is_cut_and_bootstraps_there() -> None:
    buffer = _filled([_step("a", i) for i in range(8)], rollout_transitions=6, cut_after=3)

    rollout = buffer.take()

    assert _rewards(rollout) == [[0, 1, 2], [3, 4, 5]]
    assert rollout is not None
    assert rollout.batch.bootstraps.tolist() == [1.0] * 6
    assert len(buffer) == 2


def test_a_step_that_never_comes_splits_its_episode_once_patience_is_over() -> None:
    _, *rest = _episode("a", 6)
    gapped = [rest[0], *rest[2:]]  # 1, and 3, 4, 5
    buffer = _filled(gapped, rollout_transitions=4, patience_transitions=2)
    assert buffer.take() is None

    buffer.extend(block_of([_step("b", 0)], _SPEC))
    assert buffer.take() is None
    buffer.extend(block_of([_step("b", 1)], _SPEC))

    assert _rewards(buffer.take()) == [[1], [3, 4, 5]]


def test_an_episode_whose_end_never_comes_is_taken_as_it_is_once_patience_is_over() -> None:
    buffer = _filled([_step("a", 0), _step("a", 1)], rollout_transitions=2, patience_transitions=3)

    for number in range(3):
        assert buffer.take() is None
        buffer.extend(block_of([_step("b", number)], _SPEC))

    assert _rewards(buffer.take()) == [[0, 1]]


def test_patience_lasts_as_long_as_an_episode_goes_on() -> None:
    mixed = [_step(name, number) for number in range(5) for name in ("a", "b")]

    buffer = _filled(mixed, rollout_transitions=1, patience_transitions=2)

    assert buffer.take() is None


def test_no_more_is_held_than_there_is_room_for_and_nothing_is_lost() -> None:
    endless = [_step(name, number) for name in ("a", "b") for number in range(3)]

    buffer = _filled(endless, rollout_transitions=3, capacity=5)

    assert _rewards(buffer.take()) == [[0, 1, 2]]
    assert len(buffer) == 3


def test_decisions_outside_of_any_episode_are_episodes_of_one_step() -> None:
    alone = [a_transition(reward=float(number)) for number in range(3)]

    buffer = _filled(alone, rollout_transitions=3)

    assert _rewards(buffer.take()) == [[0], [1], [2]]


def test_action_sets_of_any_size_stand_next_to_each_other() -> None:
    small = ActionSet(("a",), np.ones((1, 3), np.float32))
    steps = [a_transition(), a_transition(actions=small, action=0), a_transition()]

    rollout = _filled(steps, rollout_transitions=3).take()

    assert rollout is not None
    assert rollout.batch.actions.offsets.tolist() == [0, 3, 4, 7]
    assert rollout.batch.action.tolist() == [1, 0, 1]


@given(taken=st.integers(0, 12), order=st.permutations(range(12)))
def test_a_restored_buffer_goes_on_bit_exactly(taken: int, order: Sequence[int]) -> None:
    steps = [*_episode("a", 4), *_episode("b", 5), *(_step("c", i) for i in range(3))]
    steps = [steps[i] for i in order]
    settings = {"rollout_transitions": 4, "patience_transitions": 5}
    buffer, other = _filled(steps[:taken], **settings), _filled(_episode("x", 3)[:2], **settings)

    other.load_training_state(buffer.training_state())

    assert len(other) == len(buffer)
    for step in steps[taken:]:
        for one in (buffer, other):
            one.extend(block_of([step], _SPEC))
        assert _content(buffer) == _content(other)
    assert fingerprint(buffer.training_state()) == fingerprint(other.training_state())


def test_a_saved_state_stays_when_more_comes() -> None:
    buffer = _filled(_episode("a", 3)[:2])
    state = buffer.training_state()
    before = fingerprint(state)

    buffer.extend(block_of([_step("a", 2, "terminated")], _SPEC))

    assert fingerprint(state) == before


def test_a_rollout_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than capacity"):
        EpisodicConfig(rollout_transitions=11, capacity=10)


def _content(buffer: EpisodicRollouts) -> list[list[float]] | None:
    rollout = buffer.take()
    return None if rollout is None else _rewards(rollout)
