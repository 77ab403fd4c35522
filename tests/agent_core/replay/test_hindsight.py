"""Hindsight: which goals are set afterwards, what they pay, and that nobody's arrays are touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from agent_core.replay.hindsight import HindsightConfig, HindsightReplay
from agent_core.training.collate import block_of
from agent_core.types import ActionSet, ProblemSpec, Transition
from tests.support.learners import fingerprint
from tests.support.transitions import a_transition

_SPEC = ProblemSpec(state_dim=3, action_dim=1, max_actions=10)
_CPU = torch.device("cpu")
_BOTH = ActionSet(("left", "right"), np.array([[-1.0], [1.0]], np.float32))
_GOAL = 9.0


def _state(place: float, goal: float = _GOAL) -> Any:
    """The goal, a number that does not matter, and where one is."""
    return np.array([goal, 0.5, place], np.float32)


def _walk(steps: int, episode: str = "e", **end: Any) -> list[Transition]:
    """From place 0 one to the right at each step, towards place 9; truncated unless `end` says otherwise."""
    last = {"truncated": True} if not end else {"terminated": True} | end
    return [_step(t, episode, **(last if t == steps - 1 else {})) for t in range(steps)]


def _step(step: int, episode: str, **changes: Any) -> Transition:
    fields: dict[str, Any] = {
        "decision_id": f"{episode}{step}",
        "state": _state(step),
        "actions": _BOTH,
        "action": 1,
        "reward": -1.0,
        "next_state": _state(step + 1),
        "next_actions": _BOTH,
        "terminated": False,
        "truncated": False,
        "episode_id": episode,
        "step": step,
    }
    return a_transition(**(fields | changes))


def _config(**options: Any) -> HindsightConfig:
    fields = {"goal_at": 0, "achieved_at": 2, "goal_size": 1, "tolerance": 0.1, "capacity": 100}
    return HindsightConfig.model_validate(fields | {"copies": 3} | options)


def _replay(transitions: Iterable[Transition], **options: Any) -> HindsightReplay:
    replay = _config(**options).build(_SPEC, _CPU)
    replay.extend(block_of(list(transitions), _SPEC))
    return replay


def _rows(replay: HindsightReplay) -> list[tuple[float, ...]]:
    """Goal, place, goal then, place then, reward, bootstraps: of everything, oldest first."""
    (batch,) = replay.batches(1000)
    columns = (
        *(batch.state[:, 0], batch.state[:, 2], batch.next_state[:, 0], batch.next_state[:, 2]),
        *(batch.reward, batch.bootstraps),
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_nothing_is_copied_before_the_episode_is_whole() -> None:
    walk = _walk(4)

    assert len(_replay(walk[:3])) == 3
    assert len(_replay(walk)) == 4 + 4 * 3


def test_goals_are_what_was_achieved_at_this_or_a_later_step() -> None:
    copies = _rows(_replay(_walk(4), copies=50, capacity=1000))[4:]

    for goal, place, next_goal, next_place, _, _ in copies:
        assert goal == next_goal
        assert next_place == place + 1
        assert place + 1 <= goal <= 4
    # With 50 draws from each step every future is drawn.
    assert {(place, goal) for goal, place, *_ in copies} == {
        (p, g) for p in range(4) for g in range(p + 1, 5)
    }


def test_a_copy_pays_and_ends_where_its_goal_is_reached_and_only_there() -> None:
    for goal, _, _, next_place, reward, bootstraps in _rows(_replay(_walk(4)))[4:]:
        is_reached = next_place == goal
        assert (reward, bootstraps) == ((0.0, 0.0) if is_reached else (-1.0, 1.0))


def test_rewards_are_as_configured_and_a_goal_need_not_end_anything() -> None:
    options = {"ends_at_goal": False, "reward_reached": 5.0, "reward_missed": 2.0}

    rows = _rows(_replay(_walk(4), **options))

    assert [row[4:] for row in rows[:4]] == [(-1.0, 1.0)] * 4
    assert {row[4:] for row in rows[4:]} == {(5.0, 1.0), (2.0, 1.0)}


def test_the_tolerance_is_a_euclidean_distance_and_inclusive() -> None:
    near, far = ({row[4] for row in _rows(_replay(_walk(2), tolerance=t))[2:]} for t in (1.0, 0.0))

    # Any goal is at most one place away.
    assert near == {0.0}
    assert far == {0.0, -1.0}


def test_an_end_at_the_old_goal_is_none_for_another_goal() -> None:
    # Place 2 is the goal; the copy of the first step with goal 2 goes on, that with goal 1 ends.
    walk = [replace(t, **_towards(t, goal=2.0)) for t in _walk(2, terminated=True, reward=0.0)]

    copies = _rows(_replay(walk, copies=20))[2:]

    ends = {(place, goal): bootstraps == 0.0 for goal, place, _, _, _, bootstraps in copies}
    assert ends == {(0.0, 1.0): True, (0.0, 2.0): False, (1.0, 2.0): True}


def _towards(transition: Transition, goal: float) -> dict[str, Any]:
    place = float(transition.state[2])
    return {"state": _state(place, goal), "next_state": _state(place + 1, goal)}


def test_where_goals_end_nothing_an_end_for_another_reason_stays_one() -> None:
    rows = _rows(_replay(_walk(3, terminated=True), ends_at_goal=False))

    assert all((bootstraps == 0.0) == (place == 2.0) for _, place, _, _, _, bootstraps in rows)


def test_a_last_step_without_a_next_state_is_neither_copied_nor_drawn() -> None:
    rows = _rows(_replay(_walk(3, next_state=None, next_actions=None)))

    assert len(rows) == 3 + 2 * 3
    assert {goal for goal, *_ in rows[3:]} <= {1.0, 2.0}


def test_the_callers_arrays_are_never_changed() -> None:
    walk = _walk(4)
    before = [(t.state.tobytes(), t.next_state.tobytes()) for t in walk]  # type: ignore[union-attr]

    replay = _replay(walk)
    replay.sample(50, torch.Generator().manual_seed(0)).state.zero_()

    assert [(t.state.tobytes(), t.next_state.tobytes()) for t in walk] == before  # type: ignore[union-attr]
    assert _rows(replay)[0] == (_GOAL, 0.0, _GOAL, 1.0, -1.0, 1.0)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_arrival_does_not_matter(order: Sequence[int]) -> None:
    walk = _walk(3)

    rows = _rows(_replay(walk[t] for t in order))

    assert sorted(rows) == sorted(_rows(_replay(walk)))


def test_copies_share_the_action_sets_of_their_originals() -> None:
    assert _replay(_walk(4)).rows.distinct_sets == 1


def test_transitions_outside_of_episodes_are_stored_once() -> None:
    assert len(_replay(_walk(4, episode=""))) == 4


def test_copies_of_steps_that_were_forgotten_are_not_made() -> None:
    replay = _replay(_walk(6), capacity=4)

    assert len(replay) == 4
    assert all(0.0 <= place <= 5.0 and goal > place for goal, place, *_ in _rows(replay))


def test_episodes_that_never_end_leave_nothing_behind() -> None:
    ten, thousand = (
        _replay((_walk(2, episode=str(n))[0] for n in range(count)), capacity=10)
        for count in (10, 1000)
    )

    assert thousand.size_bytes == ten.size_bytes


def test_an_open_episode_goes_on_after_a_restart() -> None:
    walk, other = _walk(4), _walk(3, episode="other")
    replay, restored = _replay([*walk[:2], *other]), _replay([])

    restored.load_training_state(replay.training_state())
    for one in (replay, restored):
        one.extend(block_of(walk[2:], _SPEC))

    assert len(restored) == 4 * (4 + 3)
    assert fingerprint(restored.training_state()) == fingerprint(replay.training_state())


def test_a_goal_that_overlaps_what_is_achieved_is_refused() -> None:
    with pytest.raises(ValidationError, match="overlap"):
        _config(goal_at=0, achieved_at=1, goal_size=2)


def test_another_decision_draws_other_goals_and_the_same_one_the_same() -> None:
    first, again, other = (
        [goal for goal, *_ in _rows(_replay(_walk(9, episode=name)))] for name in ("e", "e", "f")
    )

    assert first == again
    assert first != other
