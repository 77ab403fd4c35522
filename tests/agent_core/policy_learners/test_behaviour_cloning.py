"""Behaviour cloning: its loss by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from agent_core.policy_learners.offline.behaviour_cloning import (
    BehaviourCloningConfig,
    cloning_loss,
)
from agent_core.training.collate import collate
from agent_core.types import TransitionBatch
from tests.support.learners import SPEC, fingerprint, made_up
from tests.support.plain_networks import PLAIN_SPEC, adding_network, numbered
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")


def _batch() -> TransitionBatch:
    """Between 1/4 and 3/4 the first was taken; of one action, that one."""
    state = np.zeros(1, np.float32)
    return collate(
        [
            a_transition(state=state, actions=numbered(0.0, math.log(3)), action=0),
            a_transition(state=state, actions=numbered(2.0), action=0),
        ],
        PLAIN_SPEC,
        _CPU,
    )


def test_the_loss_is_the_mean_surprise_at_the_logged_actions() -> None:
    # (ln 4 + ln 1) / 2: where there is no choice there is no surprise.
    assert cloning_loss(adding_network(), _batch()).item() == pytest.approx(math.log(4) / 2)


def test_rows_are_weighted() -> None:
    batch = replace(_batch(), weight=torch.tensor([3.0, 1.0]))

    assert cloning_loss(adding_network(), batch).item() == pytest.approx(3 * math.log(4) / 2)


def test_rewards_do_not_matter() -> None:
    batch = collate(made_up(8), SPEC, _CPU)
    states = []
    for reward in (0.0, 100.0):
        torch.manual_seed(0)
        config = BehaviourCloningConfig(hidden=(4,))
        policy = config.build_policy(SPEC)
        config.build_learner(policy, SPEC).update(
            batch.with_reward(torch.full_like(batch.reward, reward))
        )
        states.append(fingerprint(policy.state_dict()))

    assert states[0] == states[1]
