"""What every registered rollout buffer, and every learner of rollouts, owes to the other."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from agent_core.interfaces import OnPolicyLearner, RolloutBuffer
from agent_core.registry import AnyReplay, members
from agent_core.training.collate import block_of
from agent_core.types import Rollout, Transition
from tests.support.learners import (
    EPISODE_STEPS,
    LEARNERS,
    SPEC,
    fingerprint,
    made_up,
    one_by_one,
    spec_of,
    weights_and_moments,
)

_BUFFERS = [c for c in members(AnyReplay) if "on_policy" in c.needs]
_ON_POLICY = [c for c in LEARNERS if "on_policy" in c.capabilities]


def _kind(config_class: type[Any]) -> str:
    return str(config_class.model_fields["kind"].default)


every_buffer = pytest.mark.parametrize("config_class", _BUFFERS, ids=_kind)
every_learner = pytest.mark.parametrize("config_class", _ON_POLICY, ids=_kind)


def _buffer(config_class: type[Any], spec: Any = SPEC) -> RolloutBuffer:
    built: RolloutBuffer = config_class(rollout_transitions=16).build(spec, torch.device("cpu"))
    return built


def _rollout(transitions: list[Transition], spec: Any = SPEC) -> Rollout:
    buffer = _buffer(_BUFFERS[0], spec)
    buffer.extend(block_of(transitions, spec))
    rollout = buffer.take()
    assert rollout is not None
    return rollout


def test_something_is_checked_here() -> None:
    assert _BUFFERS
    assert _ON_POLICY


@every_buffer
def test_episodes_are_given_out_whole_once_and_in_the_order_of_their_steps(
    config_class: type[Any],
) -> None:
    transitions, buffer = made_up(24), _buffer(config_class)

    rollouts = []
    for transition in transitions:
        buffer.extend(block_of([transition], SPEC))
        if (rollout := buffer.take()) is not None:
            rollouts.append(rollout)

    (rollout,) = rollouts
    assert rollout.offsets.tolist() == list(range(0, 17, EPISODE_STEPS))
    expected = torch.tensor([t.reward for t in transitions[:16]])
    torch.testing.assert_close(rollout.batch.reward, expected)
    assert len(buffer) == 8


@every_buffer
def test_a_restored_buffer_gives_the_same_rollout(config_class: type[Any]) -> None:
    transitions, buffer, other = made_up(16), _buffer(config_class), _buffer(config_class)
    buffer.extend(block_of(transitions[:10], SPEC))

    other.load_training_state(buffer.training_state())

    for one in (buffer, other):
        one.extend(block_of(transitions[10:], SPEC))
    assert fingerprint(buffer.training_state()) == fingerprint(other.training_state())
    rollouts = buffer.take(), other.take()
    for name in ("state", "reward", "action", "bootstraps", "propensity", "key"):
        first, second = (getattr(cast("Rollout", one).batch, name) for one in rollouts)
        assert torch.equal(first, second)


@every_buffer
@pytest.mark.parametrize("size", [1, 5, 15])
def test_how_transitions_were_cut_into_blocks_is_not_seen(
    config_class: type[Any], size: int
) -> None:
    transitions, whole, cut = made_up(15), _buffer(config_class), _buffer(config_class)

    whole.extend(block_of(transitions, SPEC))
    for start in range(0, 15, size):
        cut.extend(block_of(transitions[start : start + size], SPEC))

    assert fingerprint(whole.training_state()) == fingerprint(cut.training_state())


@every_learner
def test_a_rollout_changes_the_policy_and_every_metric_is_a_finite_number(
    config_class: type[Any],
) -> None:
    learner = _learner(config_class)
    before = fingerprint(learner.policy.state_dict())
    rollout = _rollout(made_up(16, spec=spec_of(config_class)), spec_of(config_class))

    updates = learner.learn_rollout(rollout, torch.Generator().manual_seed(0), one_by_one)

    assert updates
    metrics = torch.tensor([value for update in updates for value in update.metrics.values()])
    assert metrics.isfinite().all()
    assert fingerprint(learner.policy.state_dict()) != before


@every_learner
def test_the_rollout_itself_is_not_touched(config_class: type[Any]) -> None:
    spec = spec_of(config_class)
    rollout = _rollout(made_up(16, spec=spec), spec)
    before = {name: getattr(rollout.batch, name).clone() for name in ("reward", "bootstraps")}

    _learner(config_class).learn_rollout(rollout, torch.Generator().manual_seed(0), one_by_one)

    for name, tensor in before.items():
        assert torch.equal(getattr(rollout.batch, name), tensor)


@every_learner
def test_a_rollout_with_a_gradient_that_is_not_finite_moves_nothing(
    config_class: type[Any],
) -> None:
    learner, spec = _learner(config_class), spec_of(config_class)
    rollout = _rollout(made_up(16, spec=spec), spec)
    rollout.batch.reward[:] = float("nan")
    before = weights_and_moments(learner)

    updates = learner.learn_rollout(rollout, torch.Generator().manual_seed(0), one_by_one)

    assert weights_and_moments(learner) == before
    assert all(update.metrics["skipped_non_finite"] == 1 for update in updates)


@every_learner
def test_a_replayed_batch_teaches_nothing(config_class: type[Any]) -> None:
    learner, spec = _learner(config_class), spec_of(config_class)
    before = fingerprint(learner.policy.state_dict())

    update = learner.update(_rollout(made_up(16, spec=spec), spec).batch)

    assert update.metrics == {}
    assert fingerprint(learner.policy.state_dict()) == before


def _learner(config_class: type[Any]) -> OnPolicyLearner:
    torch.manual_seed(0)
    config, spec = config_class(), spec_of(config_class)
    learner: OnPolicyLearner = config.build_learner(config.build_policy(spec), spec)
    return learner
