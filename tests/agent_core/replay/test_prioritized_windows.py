"""Priorities over several steps at once: what is drawn, how often, and what it counts, by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.config import AgentConfig, parse_agent_config
from agent_core.errors import ConfigError
from agent_core.replay.n_step import NStepConfig
from agent_core.replay.prioritized import PrioritizedConfig, PrioritizedReplay
from agent_core.training.collate import block_of
from agent_core.types import ActionSet, ProblemSpec, Transition, TransitionBatch
from tests.support.learners import fingerprint
from tests.support.transitions import a_transition

_SPEC = ProblemSpec(state_dim=1, action_dim=1, max_actions=10)
_CPU = torch.device("cpu")
_ACTIONS = ActionSet(("a",), np.zeros((1, 1), np.float32))


def _step(step: int, episode: str = "e", **changes: Any) -> Transition:
    """Step t of an episode: state t, reward 10^t, propensity 1 / (t + 1)."""
    fields: dict[str, Any] = {
        "decision_id": f"{episode}{step}",
        "state": np.array([step], np.float32),
        "actions": _ACTIONS,
        "action": 0,
        "reward": 10.0**step,
        "propensity": 1 / (step + 1),
        "next_state": np.array([step + 1], np.float32),
        "next_actions": _ACTIONS,
        "terminated": False,
        "truncated": False,
        "episode_id": episode,
        "step": step,
    }
    return a_transition(**(fields | changes))


_ENDS: dict[str, Any] = {"terminated": True, "next_state": None, "next_actions": None}


def _replay(transitions: Iterable[Transition], **options: Any) -> PrioritizedReplay:
    """Windows of 3 steps at discount 0.5, priority = error + 1, weights in full."""
    by_hand = {"alpha": 1.0, "beta": 1.0, "smallest_error": 1.0, "steps": 3, "discount": 0.5}
    replay = PrioritizedConfig(**{"capacity": 100, **by_hand, **options}).build(_SPEC, _CPU)
    replay.extend(block_of(list(transitions), _SPEC))
    return replay


def _all(replay: PrioritizedReplay) -> TransitionBatch:
    (batch,) = replay.batches(100)
    return batch


def _drawn(replay: PrioritizedReplay, size: int) -> TransitionBatch:
    return replay.sample(size, torch.Generator().manual_seed(0))


def test_the_error_of_a_window_is_the_priority_of_its_first_step() -> None:
    replay = _replay([_step(0), _step(1), _step(2), _step(3, **_ENDS)])

    replay.feed_back(_all(replay), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    batch = _drawn(replay, 10)

    # Priorities 1, 2, 3, 4 of 10, one draw from each tenth. The windows are worth 1 + 10/2 + 100/4 = 31,
    # 10 + 100/2 + 1000/4 = 310, 100 + 1000/2 = 600 and 1000.
    assert batch.row.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert batch.reward.tolist() == [31.0] + [310.0] * 2 + [600.0] * 3 + [1000.0] * 4
    # (4 * p)^-1 over its largest, that of p = 1/10: 1, 1/2, 1/3, 1/4.
    torch.testing.assert_close(batch.weight, 1 / (batch.row + 1.0))
    # Of the four only step 0 sees three steps of which none ends the episode: discount^2.
    torch.testing.assert_close(batch.bootstraps, torch.tensor([0.25] + [0.0] * 9))


def test_termination_stops_a_window_for_good_and_truncation_bootstraps() -> None:
    ended = _all(_replay([_step(0), _step(1, **_ENDS), _step(2)]))
    cut = _all(_replay([_step(0), _step(1, truncated=True), _step(2)]))

    # 1 + 10 / 2, and nothing of step 2.
    assert ended.reward.tolist() == cut.reward.tolist() == [6.0, 10.0, 100.0]
    assert ended.bootstraps.tolist() == [0.0, 0.0, 1.0]
    assert cut.bootstraps.tolist() == [0.5, 1.0, 1.0]
    assert cut.next_state.squeeze(1).tolist() == [2.0, 2.0, 3.0]


def test_a_window_has_the_propensity_of_the_decision_that_it_begins_with() -> None:
    batch = _drawn(_replay([_step(0), _step(1), _step(2)]), 30)

    torch.testing.assert_close(batch.propensity, 1 / (batch.row + 1.0))


def test_what_is_drawn_is_what_n_step_replay_would_have_drawn() -> None:
    steps = [_step(t, episode) for t in (1, 0, 3, 2) for episode in ("one", "two", "")]
    plain = NStepConfig(capacity=100, steps=3, discount=0.5).build(_SPEC, _CPU)
    plain.extend(block_of(steps, _SPEC))
    (whole,) = plain.batches(100)

    batch = _drawn(_replay(steps), 40)

    for name in ("state", "reward", "cost", "next_state", "bootstraps", "propensity", "key"):
        assert torch.equal(getattr(batch, name), getattr(whole, name)[batch.row])


def test_a_window_grows_as_its_steps_become_known_and_keeps_its_priority_until_it_is_drawn() -> (
    None
):
    replay = _replay([_step(0)])
    replay.feed_back(_all(replay), torch.tensor([4.0]))

    replay.extend(block_of([_step(1), _step(2)], _SPEC))
    batch = _drawn(replay, 15)

    # Priorities 5 each: that of step 0, and the largest so far for what is new.
    assert torch.bincount(batch.row).tolist() == [5, 5, 5]
    assert set(batch.reward[batch.row == 0].tolist()) == {31.0}


def test_the_error_of_a_window_that_was_overwritten_is_ignored() -> None:
    replay = _replay([_step(t) for t in range(4)], capacity=4)
    before = _all(replay)
    replay.extend(block_of([_step(4), _step(5)], _SPEC))

    replay.feed_back(before, torch.tensor([99.0, 99.0, 0.0, 3.0]))

    # Steps 0 and 1 are gone. 2 and 3 have priorities 1 and 4, the new ones 1 each: of 7.
    assert torch.bincount(_drawn(replay, 7).row - 2).tolist() == [1, 4, 1, 1]


def test_a_window_whose_later_step_was_overwritten_is_shorter_and_keeps_its_error() -> None:
    replay = _replay([_step(1), _step(0)], capacity=2)
    before = _all(replay)
    replay.extend(block_of([_step(0, "x")], _SPEC))

    replay.feed_back(before, torch.tensor([99.0, 3.0]))
    batch = _drawn(replay, 5)

    # Step 1 came first and is gone: 1 alone is left of 1 + 10 / 2. Priorities 4 and 1.
    assert before.reward.tolist() == [10.0, 6.0]
    assert torch.bincount(batch.row - 1).tolist() == [4, 1]
    assert set(batch.reward.tolist()) == {1.0}


def test_a_restored_replay_connects_and_draws_as_the_saved_one_does() -> None:
    replay = _replay([_step(1), _step(3), _step(0, "x"), _step(0, "")], capacity=5)
    replay.feed_back(_drawn(replay, 8), torch.arange(8.0))
    restored = _replay([], capacity=5)

    restored.load_training_state(replay.training_state())
    for one in (replay, restored):
        one.extend(block_of([_step(2), _step(1, "x"), _step(0)], _SPEC))

    first, second = (_drawn(one, 32) for one in (replay, restored))
    assert fingerprint(restored.training_state()) == fingerprint(replay.training_state())
    for name in ("row", "weight", "reward", "bootstraps", "next_state"):
        assert torch.equal(getattr(first, name), getattr(second, name))


def _config(replay: dict[str, Any], learner: str = "dqn", **options: Any) -> AgentConfig:
    return parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 1},
            "actions": {"kind": "vector", "dim": 1},
            "policy_learner": {"kind": learner, **options},
            "exploration": {"kind": "epsilon_greedy"},
            "replay": {"kind": "prioritized", **replay},
        }
    )


def test_windows_discount_as_the_learner_does() -> None:
    with pytest.raises(ConfigError, match=r"replay.discount: 0.9, but the learner's is 0.99"):
        _config({"steps": 3, "discount": 0.9})

    assert _config({"steps": 3, "discount": 0.9}, discount=0.9).replay is not None
    assert _config({}, discount=0.9).replay is not None


def test_windows_are_refused_to_learners_that_ignore_what_follows() -> None:
    message = r"replay.steps: 'neural' ignores what follows a decision.* 1"
    with pytest.raises(ConfigError, match=message):
        _config({"steps": 3}, learner="neural")

    assert _config({"steps": 1}, learner="neural").replay is not None
