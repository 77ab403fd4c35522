"""From logged data to a policy that learns from its own decisions, without a dip where one hands over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agent_core.interfaces import Policy, PolicyLearnerConfig, ReplayConfig
from agent_core.policy_learners.value_based.cql import CqlConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.replay.mixed import MixedConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Floats, ProblemSpec, Transition
from tests.support.learners import ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_LENGTH, _DISCOUNT = 5, 0.8
_BOTH = ActionSet(("left", "right"), np.eye(2, dtype=np.float32))


def _place(number: int) -> Floats:
    place: Floats = np.eye(_LENGTH, dtype=np.float32)[number]
    return place


def _step(place: int, action: int) -> Transition:
    """One step of a corridor whose left end is a wall; leaving it on the right pays 1 and ends the episode."""
    there = max(0, place + (1 if action else -1))
    is_out = there == _LENGTH
    return a_transition(
        state=_place(place),
        actions=_BOTH,
        action=action,
        reward=float(is_out),
        next_state=None if is_out else _place(there),
        next_actions=None if is_out else _BOTH,
        terminated=is_out,
    )


def _logged() -> list[Transition]:
    """What another system did, everywhere in the corridor."""
    every = [_step(place, action) for place in range(_LENGTH) for action in (0, 1)]
    return [replace(step, model_version=0) for step in every]


def _values(learner: AgentLearner) -> torch.Tensor:
    """`[5, 2]`: what going left and right is worth at each place."""
    policy = learner.policy
    assert isinstance(policy, Policy)
    states = torch.from_numpy(np.stack([_place(p) for p in range(_LENGTH)]))
    return policy.values(states, ragged([_BOTH] * _LENGTH)).view(_LENGTH, 2)


def _lowest_share_of_right(learner: AgentLearner, *, blocks: int = 6, steps: int = 20) -> float:
    """Lets it play where it is most often needed, at the last two places, exploring in 3 of 10 steps.

    Returns the lowest share of all five places, over the blocks, at which going right is preferred.
    """
    generator, place, shares = np.random.default_rng(0), 3, []
    for _ in range(blocks):
        for _ in range(steps):
            best = int(_values(learner)[place].argmax())
            action = int(generator.integers(2)) if generator.random() < 0.3 else best
            learner.learn([_step(place, action)])
            place = place + 1 if action and place < _LENGTH - 1 else 3
        shares.append(float((_values(learner).argmax(1) == 1).float().mean()))
    return min(shares)


def _warm_start(learner: PolicyLearnerConfig, replay: ReplayConfig) -> AgentLearner:
    """Learns from the logs alone, as long as it takes."""
    schedule = ScheduleConfig(
        batch_size=32, updates_per_transition=2, warmup_transitions=10, seed=1
    )
    trained = AgentLearner(learner, replay, schedule, ProblemSpec(_LENGTH, 2, 2))
    trained.learn(_logged())
    trained.extra_updates(400)
    return trained


_FIELDS = {"hidden": (32,), "discount": _DISCOUNT, "learning_rate": 3e-3, "target_mix": 0.05}
_DQN = DqnConfig.model_validate(_FIELDS)
_CQL = CqlConfig.model_validate(_FIELDS | {"alpha": 0.1})
_MIXED = MixedConfig(capacity=40, logged_capacity=100)


@pytest.mark.parametrize("learner", [_DQN, _CQL], ids=["dqn", "cql"])
def test_a_policy_from_logs_does_not_collapse_when_it_takes_over(
    learner: PolicyLearnerConfig,
) -> None:
    trained = _warm_start(learner, _MIXED)
    before = (_values(trained).argmax(1) == 1).float().mean()

    lowest = _lowest_share_of_right(trained)

    assert before == 1.0
    assert lowest == 1.0


def test_what_only_the_logs_show_keeps_its_value() -> None:
    learner = _warm_start(_DQN, _MIXED)

    _lowest_share_of_right(learner)

    # The first place, which it never enters itself, is four steps away from the last one, which pays 1.
    assert float(_values(learner)[0, 1]) == pytest.approx(_DISCOUNT**4, abs=0.02)
