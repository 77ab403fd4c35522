"""The parts of learners: what they save, how targets follow, how a refused step is reported."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agent_core.functional.critics import mean_error
from agent_core.policy_learners.parts import SavedParts, adam_of, frozen_copy, move_towards, named
from tests.support.learners import fingerprint


def test_metrics_have_the_name_of_their_part_but_a_refused_step_is_the_same_for_all() -> None:
    assert named("actor", {"loss": 2.0}) == {"actor_loss": 2.0}
    assert named("actor", {"skipped_non_finite": 1.0}) == {"skipped_non_finite": 1.0}


def test_a_target_moves_by_its_share_and_gets_no_gradient() -> None:
    trained = nn.Linear(1, 1)
    target = frozen_copy(trained)
    nn.init.constant_(target.weight, 1.0)
    nn.init.constant_(trained.weight, 5.0)

    move_towards(target, trained, 0.25)

    # 1 + 0.25 * (5 - 1).
    assert target.weight.item() == 2.0
    assert not target.weight.requires_grad


def test_networks_and_optimizers_continue_where_they_were_saved() -> None:
    def parts() -> tuple[nn.Linear, SavedParts]:
        network = nn.Linear(1, 1)
        step = adam_of(network, 0.1, max_norm=1.0)
        step.descend(network(torch.ones(1, 1)).sum())
        return network, SavedParts({"critic": network}, {"critic_step": step})

    (_, saved), (other, restored) = parts(), parts()

    restored.load_training_state(saved.training_state())

    assert fingerprint(restored.training_state()) == fingerprint(saved.training_state())
    names = {f"critic.{name}" for name in other.state_dict()}
    assert names | {"critic_step.weight.exp_avg"} <= set(saved.training_state())


def test_weights_decay_as_much_as_asked() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 4.0)

    adam_of(network, 0.5, max_norm=1.0, weight_decay=0.5).descend(0 * network.weight.sum())

    # No gradient, so all that happens is 4 - 0.5 * 0.5 * 4.
    assert network.weight.item() == pytest.approx(3.0)


def test_the_error_of_a_transition_is_that_of_its_critics_on_average() -> None:
    errors = torch.tensor([[1.0, -2.0], [-3.0, 0.0]], requires_grad=True)

    found = mean_error(errors)

    assert found.tolist() == [2.0, 1.0]
    assert not found.requires_grad
