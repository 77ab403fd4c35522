"""What every registered replay owes to the learner that draws from it.

Replays that make more of an episode than its steps are tested on steps outside of any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.interfaces import ReplayBuffer
from agent_core.registry import AnyReplay, members
from agent_core.training.collate import block_of
from agent_core.types import Transition, TransitionBatch
from tests.support.learners import SPEC, fingerprint
from tests.support.learners import made_up as _in_episodes
from tests.support.transitions import a_transition

_FIELDS: dict[str, dict[str, float]] = {
    "hindsight": {"goal_at": 0, "achieved_at": 2, "goal_size": 1, "tolerance": 0.5}
}
"""What a kind must be told besides its capacity."""

_Configure = Callable[..., Any]


def _registered() -> dict[str, _Configure]:
    configs: dict[str, Any] = {c.model_fields["kind"].default: c for c in members(AnyReplay)}
    return {
        kind: partial(config, **_FIELDS.get(kind, {}))
        for kind, config in configs.items()
        if "replay" in config.needs
    }


_KINDS = _registered()
_KINDS["prioritized windows"] = partial(_KINDS["prioritized"], steps=3)
pytestmark = pytest.mark.parametrize("configure", _KINDS.values(), ids=_KINDS)


def made_up(count: int, seed: int = 0) -> list[Transition]:
    """`count` transitions that belong to no episode."""
    return [replace(t, episode_id="", step=0) for t in _in_episodes(count, seed)]


def _empty(configure: _Configure, **limits: int) -> ReplayBuffer:
    replay: ReplayBuffer = configure(**limits).build(SPEC, torch.device("cpu"))
    return replay


def _filled(
    configure: _Configure, transitions: Iterable[Transition], capacity: int = 16
) -> ReplayBuffer:
    replay = _empty(configure, capacity=capacity)
    replay.extend(block_of(list(transitions), SPEC))
    return replay


def _assert_holds(batch: TransitionBatch, row: int, transition: Transition) -> None:
    """Row `row` of the batch is the transition, whole."""
    start, end = batch.actions.offsets[row : row + 2].tolist()
    next_start, next_end = batch.next_actions.offsets[row : row + 2].tolist()
    assert transition.next_state is not None
    assert transition.next_actions is not None
    np.testing.assert_array_equal(batch.state[row], transition.state)
    np.testing.assert_array_equal(batch.actions.features[start:end], transition.actions.features)
    np.testing.assert_array_equal(batch.next_state[row], transition.next_state)
    np.testing.assert_array_equal(
        batch.next_actions.features[next_start:next_end], transition.next_actions.features
    )
    assert batch.action[row] == transition.action
    assert batch.reward[row] == np.float32(transition.reward)
    assert batch.cost[row] == np.float32(transition.cost)
    assert batch.propensity[row] == np.float32(transition.propensity)
    assert batch.bootstraps[row] == float(not transition.terminated)


def test_it_gives_back_what_was_stored_oldest_first(configure: _Configure) -> None:
    transitions = made_up(7)

    batches = list(_filled(configure, transitions).batches(3))

    assert [len(batch.reward) for batch in batches] == [3, 3, 1]
    for index, transition in enumerate(transitions):
        _assert_holds(batches[index // 3], index % 3, transition)


def test_it_forgets_the_oldest_beyond_its_capacity(configure: _Configure) -> None:
    transitions = made_up(50)

    replay = _filled(configure, transitions, capacity=16)

    assert len(replay) == 16
    (batch,) = replay.batches(100)
    for row, transition in enumerate(transitions[-16:]):
        _assert_holds(batch, row, transition)


def test_samples_are_stored_transitions_and_every_one_is_drawn(configure: _Configure) -> None:
    transitions = made_up(40)
    by_reward = {float(np.float32(t.reward)): t for t in transitions[-16:]}

    batch = _filled(configure, transitions).sample(400, torch.Generator().manual_seed(1))

    for row, reward in enumerate(batch.reward.tolist()):
        _assert_holds(batch, row, by_reward[reward])
    assert set(batch.reward.tolist()) == set(by_reward)


@pytest.mark.parametrize(
    ("changes", "bootstraps"),
    [
        ({"terminated": True, "truncated": False}, 0.0),
        ({"terminated": False, "truncated": True}, 1.0),
        ({"terminated": False, "truncated": False}, 1.0),
        ({"terminated": False, "truncated": True, "next_state": None}, 0.0),
    ],
    ids=["terminated", "truncated", "neither", "unknown next state"],
)
def test_only_termination_or_an_unknown_next_state_stops_bootstrapping(
    configure: _Configure, changes: dict[str, Any], bootstraps: float
) -> None:
    example = made_up(1)[0]
    fields = {"actions": example.actions, "state": example.state, "action": 0}
    fields |= {"next_state": example.next_state, "next_actions": example.next_actions}
    transition = a_transition(**(fields | changes))

    (batch,) = _filled(configure, [transition]).batches(1)

    assert batch.bootstraps.tolist() == [bootstraps]


def test_a_transition_without_next_actions_has_an_empty_next_set(configure: _Configure) -> None:
    first, _ = made_up(2)
    alone = a_transition(state=first.state, actions=first.actions, action=0)

    (batch,) = _filled(configure, [alone]).batches(1)

    assert batch.next_actions.offsets.tolist() == [0, 0]
    assert not batch.next_state[0].any()


def test_sets_of_one_size_stay_of_one_size_where_an_episode_ends(configure: _Configure) -> None:
    going_on, _ = made_up(2)
    going_on = replace(going_on, next_actions=going_on.actions, terminated=False, next_action=0)
    last = a_transition(state=going_on.state, actions=going_on.actions, action=0)

    (batch,) = _filled(configure, [going_on, last]).batches(2)

    assert batch.bootstraps.tolist() == [1.0, 0.0]
    assert batch.actions.width == batch.next_actions.width == len(going_on.actions)


@pytest.mark.parametrize("count", [0, 5, 16, 37, 150])
def test_a_restored_replay_goes_on_bit_exactly(configure: _Configure, count: int) -> None:
    replay = _filled(configure, _in_episodes(count))
    other = _filled(configure, _in_episodes(3, seed=8))
    if count:
        _use(replay, seed=4)

    other.load_training_state(replay.training_state())
    for one in (replay, other):
        one.extend(block_of(_in_episodes(20 + count, seed=0)[count:], SPEC))
        _use(one, seed=2)

    assert fingerprint(replay.training_state()) == fingerprint(other.training_state())
    samples = [r.sample(64, torch.Generator().manual_seed(3)) for r in (replay, other)]
    for name in ("state", "action", "reward", "bootstraps", "weight", "row", "next_action"):
        assert torch.equal(getattr(samples[0], name), getattr(samples[1], name))
    assert torch.equal(samples[0].actions.features, samples[1].actions.features)
    assert torch.equal(samples[0].next_actions.offsets, samples[1].next_actions.offsets)


def _use(replay: ReplayBuffer, seed: int) -> None:
    """One update's worth of drawing and of errors."""
    generator = torch.Generator().manual_seed(seed)
    replay.feed_back(replay.sample(8, generator), torch.rand(8, generator=generator))


def test_weights_are_positive_and_the_largest_is_one(configure: _Configure) -> None:
    replay = _filled(configure, made_up(16))
    _use(replay, seed=0)

    weight = replay.sample(64, torch.Generator().manual_seed(1)).weight

    assert float(weight.min()) > 0
    assert float(weight.max()) == 1


def test_errors_of_rows_that_were_overwritten_since_do_no_harm(configure: _Configure) -> None:
    replay, undisturbed = _filled(configure, made_up(16)), _filled(configure, made_up(16))
    batch = replay.sample(64, torch.Generator().manual_seed(0))
    undisturbed.sample(64, torch.Generator().manual_seed(0))
    for one in (replay, undisturbed):
        one.extend(block_of(made_up(16, seed=1), SPEC))

    replay.feed_back(batch, torch.full((64,), 1e3))

    samples = [r.sample(64, torch.Generator().manual_seed(1)) for r in (replay, undisturbed)]
    assert torch.equal(samples[0].row, samples[1].row)
    assert torch.equal(samples[0].weight, samples[1].weight)


def test_it_forgets_the_oldest_beyond_its_bytes(configure: _Configure) -> None:
    transitions = made_up(300)
    replay = _empty(configure, capacity=1000, capacity_bytes=20_000)

    replay.extend(block_of(transitions, SPEC))

    assert 20 < len(replay) < 200
    (batch,) = replay.batches(1000)
    for row, transition in enumerate(transitions[-len(replay) :]):
        _assert_holds(batch, row, transition)


def test_what_was_drawn_and_what_was_saved_stays_when_more_is_stored(
    configure: _Configure,
) -> None:
    replay = _filled(configure, made_up(16))
    batch, state = replay.sample(4, torch.Generator().manual_seed(0)), replay.training_state()
    drawn, saved = batch.state.clone(), fingerprint(state)

    replay.extend(block_of(made_up(16, seed=1), SPEC))

    assert torch.equal(batch.state, drawn)
    assert fingerprint(state) == saved


def test_an_empty_replay_has_no_batches(configure: _Configure) -> None:
    assert list(_filled(configure, []).batches(4)) == []


@pytest.mark.parametrize("limits", [{"capacity": 16}, {"capacity": 500, "capacity_bytes": 4_000}])
@given(cuts=st.sets(st.integers(1, 149), max_size=6))
def test_how_transitions_were_cut_into_blocks_changes_no_bit(
    configure: _Configure, limits: dict[str, int], cuts: set[int]
) -> None:
    """Logged ones and our own, in episodes that overtake each other, with one set that many share."""
    shared = _in_episodes(1, seed=5)[0].actions
    stream = [
        replace(t, model_version=at % 3, actions=shared, action=0) if at % 4 else t
        for at, t in enumerate(_in_episodes(150))
    ]
    stream = stream[1::2] + stream[::2]
    cut, whole = _empty(configure, **limits), _empty(configure, **limits)

    for start, stop in pairwise([0, *sorted(cuts), 150]):
        cut.extend(block_of(stream[start:stop], SPEC))
    whole.extend(block_of(stream, SPEC))

    assert len(cut) == len(whole)
    assert fingerprint(cut.training_state()) == fingerprint(whole.training_state())
    first, second = (one.sample(64, torch.Generator().manual_seed(1)) for one in (cut, whole))
    assert torch.equal(first.row, second.row)
    assert torch.equal(first.actions.features, second.actions.features)


def test_nothing_is_stored_of_an_empty_block(configure: _Configure) -> None:
    replay = _filled(configure, [])

    replay.extend(block_of([], SPEC))

    assert len(replay) == 0
