"""The parts of learners: what they save, their chance, when more is due, how a refused step is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from agent_core.functional.critics import mean_error
from agent_core.interfaces import Update
from agent_core.policy_learners.gradient import Step
from agent_core.policy_learners.parts import (
    LearnsInBatches,
    UpdateNoise,
    adam_of,
    frozen_copy,
    named,
)
from agent_core.policy_learners.weights import Weights
from agent_core.training.collate import collate
from agent_core.types import TransitionBatch
from tests.support.learners import SPEC, fingerprint, made_up

_CPU = torch.device("cpu")


class _Learner(LearnsInBatches):
    """Pulls the outputs of a linear network down; at every third update it does more."""

    period_updates = 3

    def __init__(self) -> None:
        self._network = nn.Linear(1, 1)
        weights = Weights(self._network)
        self._step = adam_of(weights, 0.1, max_norm=1.0)
        super().__init__(None, {"critic": weights, "critic_step": self._step})

    def update(self, batch: TransitionBatch) -> Update:
        self.updates += 1
        return Update(self._step.descend(self._network(batch.reward.unsqueeze(1)).sum()).metrics)


def test_metrics_have_the_name_of_their_part_but_a_refused_step_is_the_same_for_all() -> None:
    loss, refused = torch.tensor(2.0), torch.tensor(1.0)

    found = named("actor", Step({"loss": loss, "skipped_non_finite": refused}, 1 - refused))

    assert found == {"actor_loss": loss, "skipped_non_finite": refused}


def test_a_target_gets_no_gradient() -> None:
    assert not any(p.requires_grad for p in frozen_copy(nn.Linear(1, 1)).parameters())


def test_networks_optimizers_and_counts_continue_where_they_were_saved() -> None:
    batch = collate(made_up(4), SPEC, _CPU)
    learner, restored = _Learner(), _Learner()
    learner.update(batch)

    restored.load_training_state(learner.training_state())
    for one in (learner, restored):
        one.update(batch)

    assert fingerprint(restored.training_state()) == fingerprint(learner.training_state())
    expected = {"updates", "critic.weight", "critic.bias"}
    assert learner.training_state().keys() == expected | {
        "critic_step.moments",
        "critic_step.steps",
    }
    assert restored.updates == 2


def test_more_is_due_at_the_end_of_each_period_whoever_made_the_updates() -> None:
    learner = _Learner()

    assert learner.due(4) == (False, False, True, False)
    learner.update(collate(made_up(4), SPEC, _CPU))
    learner.updates += 3
    assert learner.due(3) == (False, True, False)


def test_weights_decay_as_much_as_asked() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 4.0)
    step = adam_of(Weights(network), 0.5, max_norm=1.0, weight_decay=0.5)

    step.descend(0 * network.weight.sum())

    # No gradient, so all that happens is 4 - 0.5 * 0.5 * 4.
    assert network.weight.item() == pytest.approx(3.0)


def test_noise_is_drawn_anew_each_time_and_goes_on_where_it_was_saved() -> None:
    batch, noise, other = collate(made_up(6), SPEC, _CPU), UpdateNoise(_CPU), UpdateNoise(_CPU)
    first = noise.normals(batch, 3)
    other.load_training_state(noise.training_state())

    second = noise.normals(batch, 3)

    assert first.shape == (6, 3)
    assert len(torch.cat([first, second]).unique()) == 36
    assert torch.equal(other.normals(batch, 3), second)


def test_noise_is_normal_and_that_of_another_learner_has_nothing_to_do_with_it() -> None:
    batch = replace(collate(made_up(1), SPEC, _CPU), key=torch.arange(20_000))

    drawn, others = (UpdateNoise(_CPU).normals(batch, 1) for _ in range(2))

    # 20,000 draws: standard errors of 0.007 for mean and correlation, 0.005 for the deviation.
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.03)
    assert drawn.std().item() == pytest.approx(1.0, abs=0.03)
    assert torch.corrcoef(torch.cat([drawn, others], 1).T)[0, 1].abs() < 0.03


def test_the_error_of_a_transition_is_that_of_its_critics_on_average() -> None:
    errors = torch.tensor([[1.0, -2.0], [-3.0, 0.0]], requires_grad=True)

    found = mean_error(errors)

    assert found.tolist() == [2.0, 1.0]
    assert not found.requires_grad
