"""The actor over action sets: each set by itself, whatever its size."""

from __future__ import annotations

import math

import numpy as np
import torch

from agent_core.functional.policy_gradient import entropies
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.offline.behaviour_cloning import cloning_loss
from agent_core.training.collate import collate
from agent_core.types import ActionSet
from tests.support.learners import SPEC, action_set, made_up, ragged
from tests.support.plain_networks import adding_network, numbered

_CPU = torch.device("cpu")


def _policy() -> ActorPolicy:
    torch.manual_seed(0)
    return ActorPolicy(SPEC, (8,))


def test_probabilities_follow_the_logits_within_the_set() -> None:
    # Logits s + a: ln 1, ln 3 in state 0; the state moves both alike.
    actions = ragged([numbered(0.0, math.log(3)), numbered(0.0, math.log(3))])

    log_p = log_policy(adding_network(), torch.tensor([[0.0], [5.0]]), actions)

    torch.testing.assert_close(log_p.exp(), torch.tensor([0.25, 0.75, 0.25, 0.75]))


def test_a_smaller_set_than_before_keeps_the_proportions_of_what_is_left() -> None:
    policy, actions = _policy(), action_set(np.random.default_rng(0), 4)
    left = ActionSet(actions.ids[1:3], actions.features[1:3])
    state = torch.zeros(1, SPEC.state_dim)

    whole = log_policy(policy.network, state, ragged([actions]))
    smaller = log_policy(policy.network, state, ragged([left]))

    torch.testing.assert_close(smaller.exp().sum(), torch.tensor(1.0))
    torch.testing.assert_close(smaller[1] - smaller[0], whole[2] - whole[1])


def test_sets_of_different_size_in_one_batch_give_the_gradient_that_each_alone_gives() -> None:
    policy, transitions = _policy(), made_up(6)
    assert len({len(t.actions) for t in transitions}) > 1
    parameters = list(policy.network.parameters())

    together = torch.autograd.grad(
        cloning_loss(policy.network, collate(transitions, SPEC, _CPU)), parameters
    )
    alone = [
        torch.autograd.grad(cloning_loss(policy.network, collate([t], SPEC, _CPU)), parameters)
        for t in transitions
    ]

    for whole, *parts in zip(together, *alone, strict=True):
        torch.testing.assert_close(whole, torch.stack(parts).mean(dim=0))


def test_the_entropy_moves_the_network() -> None:
    policy = _policy()
    actions = ragged([action_set(np.random.default_rng(1), 3)])

    log_p = log_policy(policy.network, torch.zeros(1, SPEC.state_dim), actions)
    entropies(log_p, actions).sum().backward()

    assert policy.network.out.weight.grad is not None
    assert policy.network.out.weight.grad.abs().sum() > 0
