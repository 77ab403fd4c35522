"""n-step transitions by hand: what is summed, where it stops, and that the order of arrival is free."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.replay.n_step import NStepConfig, NStepReplay
from agent_core.training.collate import block_of
from agent_core.types import ActionSet, ProblemSpec, Transition, TransitionBatch
from tests.support.learners import fingerprint
from tests.support.transitions import a_transition

_SPEC = ProblemSpec(state_dim=1, action_dim=1, max_actions=10)
_ENDS: dict[str, Any] = {
    "terminated": True,
    "next_state": None,
    "next_actions": None,
    "next_action": None,
}


def _number(value: float) -> Any:
    return np.array([value], np.float32)


def _step(step: int, episode: str = "e", **changes: Any) -> Transition:
    """Step t of an episode: state t, reward 10^t, cost 1, and t + 1 actions next, of which t is taken."""
    actions = ActionSet(("a",), np.zeros((1, 1), np.float32))
    following = ActionSet(("b",) * (step + 1), np.full((step + 1, 1), step, np.float32))
    fields: dict[str, Any] = {
        "decision_id": f"{episode}{step}",
        "state": _number(step),
        "actions": actions,
        "action": 0,
        "reward": 10.0**step,
        "cost": 1.0,
        "next_state": _number(step + 1),
        "next_actions": following,
        "next_action": step,
        "terminated": False,
        "truncated": False,
        "episode_id": episode,
        "step": step,
    }
    return a_transition(**(fields | changes))


def _replay(transitions: Iterable[Transition], steps: int = 3, capacity: int = 100) -> NStepReplay:
    config = NStepConfig(capacity=capacity, steps=steps, discount=0.5)
    replay = config.build(_SPEC, torch.device("cpu"))
    replay.extend(block_of(list(transitions), _SPEC))
    return replay


def _all(replay: NStepReplay) -> TransitionBatch:
    """Everything, by state."""
    (batch,) = replay.batches(100)
    return batch


def test_rewards_and_costs_are_discounted_sums_and_what_is_next_comes_after_the_last_step() -> None:
    batch = _all(_replay(_step(t) for t in range(5)))

    # 1 + 10 / 2 + 100 / 4 = 31, then ten times as much; at the end of what is known 1000 + 10000 / 2.
    assert batch.reward.tolist() == [31.0, 310.0, 3100.0, 6000.0, 10000.0]
    assert batch.cost.tolist() == [1.75, 1.75, 1.75, 1.5, 1.0]
    assert batch.next_state.squeeze(1).tolist() == [3.0, 4.0, 5.0, 5.0, 5.0]
    assert batch.next_actions.offsets.diff().tolist() == [3, 4, 5, 5, 5]
    assert batch.next_action.tolist() == [2, 3, 4, 4, 4]
    # discount^(n - 1) where the value counts
    assert batch.bootstraps.tolist() == [0.25, 0.25, 0.25, 0.5, 1.0]


def test_what_is_not_summed_is_that_of_the_first_step() -> None:
    replay = _replay([_step(0, propensity=0.5), _step(1, propensity=0.25, action=0)])

    batch = _all(replay)

    assert batch.state.squeeze(1).tolist() == [0.0, 1.0]
    assert batch.propensity.tolist() == [0.5, 0.25]
    assert batch.actions.offsets.tolist() == [0, 1, 2]


def test_a_terminal_step_ends_the_sum_and_nothing_bootstraps_beyond_it() -> None:
    batch = _all(_replay([_step(0), _step(1, **_ENDS), _step(2)]))

    assert batch.reward.tolist() == [6.0, 10.0, 100.0]
    assert batch.bootstraps.tolist() == [0.0, 0.0, 1.0]


def test_a_truncated_step_ends_the_sum_and_bootstraps() -> None:
    batch = _all(_replay([_step(0), _step(1, truncated=True), _step(2)]))

    assert batch.reward.tolist() == [6.0, 10.0, 100.0]
    assert batch.next_state.squeeze(1).tolist() == [2.0, 2.0, 3.0]
    assert batch.bootstraps.tolist() == [0.5, 1.0, 1.0]


def test_an_unknown_next_state_within_the_sum_does_no_harm() -> None:
    batch = _all(_replay([_step(0, next_state=None), _step(1)], steps=2))

    assert batch.reward.tolist() == [6.0, 10.0]
    assert batch.bootstraps.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_of_arrival_does_not_matter(order: tuple[int, ...]) -> None:
    steps = [_step(0), _step(1), _step(2), _step(3, **_ENDS)]

    batch = _all(_replay(steps[t] for t in order))

    by_state = batch.state.squeeze(1).argsort()
    assert batch.reward[by_state].tolist() == [31.0, 310.0, 600.0, 1000.0]
    assert batch.bootstraps[by_state].tolist() == [0.25, 0.0, 0.0, 0.0]


def test_interleaved_episodes_do_not_mix() -> None:
    batch = _all(_replay(_step(t, episode) for t in range(2) for episode in ("one", "two")))

    assert batch.reward.tolist() == [6.0, 6.0, 10.0, 10.0]


def test_a_gap_ends_the_sum_until_it_is_filled() -> None:
    replay = _replay([_step(0), _step(2)])
    with_gap = _all(replay).reward.tolist()

    replay.extend(block_of([_step(1)], _SPEC))

    assert with_gap == [1.0, 100.0]
    assert _all(replay).reward.tolist() == [31.0, 100.0, 60.0]


def test_transitions_outside_of_episodes_pass_unchanged() -> None:
    batch = _all(_replay(_step(t, episode="") for t in range(3)))

    assert batch.reward.tolist() == [1.0, 10.0, 100.0]
    assert batch.bootstraps.tolist() == [1.0, 1.0, 1.0]


def test_with_one_step_nothing_is_summed() -> None:
    batch = _all(_replay((_step(t) for t in range(3)), steps=1))

    assert batch.reward.tolist() == [1.0, 10.0, 100.0]


def test_a_step_that_was_forgotten_is_not_summed() -> None:
    # Step 2 came first and has been forgotten when step 1 is followed.
    replay = _replay([_step(2), _step(1), _step(0)], capacity=2)

    batch = _all(replay)

    assert batch.state.squeeze(1).tolist() == [1.0, 0.0]
    assert batch.reward.tolist() == [10.0, 6.0]


def test_a_late_successor_of_a_forgotten_step_joins_nothing() -> None:
    replay = _replay([_step(0), _step(0, "x"), _step(0, "y"), _step(1)], capacity=2)

    assert _all(replay).reward.tolist() == [1.0, 10.0]


def test_a_restored_replay_connects_what_comes_as_the_saved_one_does() -> None:
    replay = _replay([_step(1), _step(3), _step(0, "x"), _step(0, "y"), _step(0, "")], capacity=5)
    restored = _replay([], capacity=5)

    restored.load_training_state(replay.training_state())
    for one in (replay, restored):
        for more in (_step(2), _step(1, "x"), _step(0)):
            one.extend(block_of([more], _SPEC))

    assert fingerprint(restored.training_state()) == fingerprint(replay.training_state())
    assert _all(restored).reward.tolist() == _all(replay).reward.tolist()


def test_episodes_that_never_end_leave_nothing_behind() -> None:
    ten, thousand = (
        _replay((_step(0, str(n)) for n in range(count)), capacity=10) for count in (10, 1000)
    )

    assert len(thousand) == 10
    assert thousand.size_bytes == ten.size_bytes
