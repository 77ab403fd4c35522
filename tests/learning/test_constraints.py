"""Limits on cost whose price is known: the multiplier finds it, and the policy keeps the limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.interfaces import BoxPolicy, Policy, PolicyLearnerConfig
from agent_core.policy_learners.actor_critic.discrete_sac import DiscreteSacConfig
from agent_core.policy_learners.actor_critic.td3 import Td3Config
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.safety.reward_constrained import RewardConstrainedConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Box, Floats, ProblemSpec, Transition
from tests.support.learners import ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_SAFE_OR_RISKY = ActionSet(("safe", "risky"), np.eye(2, dtype=np.float32))
_SPEC = ProblemSpec(state_dim=1, action_dim=2, max_actions=2)


def _state(number: float) -> Floats:
    return np.array([number], np.float32)


def _gamble() -> list[Transition]:
    """Risky pays 1 and costs 1, safe pays 0.6 and costs nothing."""
    return [
        a_transition(
            decision_id=str(action),
            state=_state(1.0),
            actions=_SAFE_OR_RISKY,
            action=action,
            reward=(0.6, 1.0)[action],
            cost=float(action),
        )
        for action in (0, 1)
    ]


def _shortcut() -> list[Transition]:
    """The same, but what the risky action costs comes one step later, where there is one way on only."""
    only = ActionSet(("on",), np.eye(2, dtype=np.float32)[:1])
    first = [
        a_transition(
            decision_id=str(action),
            state=_state(1.0),
            actions=_SAFE_OR_RISKY,
            action=action,
            reward=(0.6, 1.0)[action],
            cost=0.0,
            next_state=_state(-1.0 - action),
            next_actions=only,
            terminated=False,
        )
        for action in (0, 1)
    ]
    second = [
        a_transition(
            decision_id=f"then {action}",
            state=_state(-1.0 - action),
            actions=only,
            action=0,
            reward=0.0,
            cost=2.0 * action,
        )
        for action in (0, 1)
    ]
    return [*first, *second]


def _learner(
    config: PolicyLearnerConfig,
    stream: Sequence[Transition],
    spec: ProblemSpec = _SPEC,
    **constraint: Any,
) -> AgentLearner:
    learner = AgentLearner(
        config,
        FifoConfig(capacity=1000),
        ScheduleConfig(batch_size=32, updates_per_transition=0, seed=1),
        spec,
        safety_config=RewardConstrainedConfig(
            hidden=(16,), multiplier_rate=0.003, learning_rate=3e-3, target_mix=0.1, **constraint
        ),
    )
    learner.learn(stream)
    return learner


def _dqn() -> DqnConfig:
    return DqnConfig(hidden=(16,), learning_rate=3e-3, target_mix=0.1, discount=0.5)


def _risky_is_better(learner: AgentLearner) -> bool:
    assert isinstance(learner.policy, Policy)
    safe, risky = learner.policy.values(torch.ones(1, 1), ragged([_SAFE_OR_RISKY])).tolist()
    return bool(risky > safe)


def test_a_limit_that_does_not_bind_costs_nothing() -> None:
    learner = _learner(_dqn(), _gamble(), cost_limit=1.5)

    metrics = learner.extra_updates(300)

    assert metrics["cost_multiplier"] == 0.0
    assert _risky_is_better(learner)


def test_a_limit_of_nothing_forbids_what_costs() -> None:
    learner = _learner(_dqn(), _gamble(), cost_limit=0.0)

    learner.extra_updates(600)

    assert not _risky_is_better(learner)


@pytest.mark.parametrize(
    ("stream", "cost_limit"),
    [(_gamble(), 0.3), (_shortcut(), 0.7)],
    ids=["cost at once", "cost one step later"],
)
def test_the_multiplier_finds_the_price_at_which_risk_is_not_worth_it(
    stream: list[Transition], cost_limit: float
) -> None:
    # Either way risky is worth 1 - multiplier, because 0.5 * 2 = 1, and safe 0.6. With the cost one step
    # later, where it must be paid counts too: the mean over the four states is 1/2 if safe is played, else 1.
    learner = _learner(_dqn(), stream, cost_limit=cost_limit, discount=0.5)

    learner.extra_updates(800)
    metrics = learner.extra_updates(400)

    assert metrics["cost_multiplier"] == pytest.approx(0.4, abs=0.1)


def test_an_actor_takes_a_costly_action_as_often_as_the_limit_allows() -> None:
    config = DiscreteSacConfig(hidden=(16,), learning_rate=3e-3, discount=0.0)
    learner = _learner(config, _gamble(), cost_limit=0.25, discount=0.0)

    learner.extra_updates(800)
    metrics = learner.extra_updates(300)

    assert isinstance(learner.policy, Policy)
    logits = learner.policy.values(torch.ones(1, 1), ragged([_SAFE_OR_RISKY]))
    assert metrics["expected_cost"] == pytest.approx(0.25, abs=0.05)
    assert float(logits.detach().softmax(0)[1]) == pytest.approx(0.25, abs=0.1)


def test_a_continuous_action_stops_where_its_cost_meets_the_limit() -> None:
    # Action a pays a and costs a^2: with a limit of 1/4 it is 1/2, at a price of 1, where 1 - 2 a = 0.
    box = ProblemSpec(state_dim=1, action_dim=1, max_actions=1, box=Box((0.0,), (1.0,)))
    stream = [
        a_transition(
            decision_id=str(number),
            state=_state(1.0),
            actions=ActionSet(("box",), np.array([[a]], np.float32)),
            action=0,
            reward=float(a),
            cost=float(a * a),
        )
        for number, a in enumerate(np.linspace(0, 1, 101))
    ]
    config = Td3Config(hidden=(32,), discount=0.0, learning_rate=3e-3, target_mix=0.05)
    learner = _learner(config, stream, box, cost_limit=0.25, discount=0.0, initial_multiplier=0.5)

    learner.extra_updates(800)
    metrics = learner.extra_updates(400)

    assert isinstance(learner.policy, BoxPolicy)
    assert float(learner.policy.means(torch.ones(1, 1)).detach()) == pytest.approx(0.5, abs=0.1)
    assert metrics["cost_multiplier"] == pytest.approx(1.0, abs=0.2)
