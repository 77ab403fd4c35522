"""The constraint on costs: penalized rewards, pessimistic costs and the multiplier by hand, and restarts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from agent_core.functional.flat_state import below
from agent_core.interfaces import (
    PolicyLearner,
    PolicyLearnerConfig,
    Runner,
    Update,
)
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.actor import ActorPolicy
from agent_core.policy_learners.parts import LearnsInBatches
from agent_core.replay.episodic import EpisodicConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.safety.reward_constrained import (
    ConstrainedLearner,
    RewardConstrainedConfig,
    SetCritics,
    cost_loss,
    expected_cost,
    moved_multiplier,
    penalized,
)
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.collate import collate
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, ProblemSpec, RaggedActions, Rollout, TransitionBatch
from tests.support.fixed_policy import FixedPolicy
from tests.support.learners import (
    LEARNERS,
    fingerprint,
    made_up,
    one_by_one,
    ragged,
    spec_of,
    weights_and_moments,
)
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")
_ONE = ProblemSpec(state_dim=1, action_dim=1, max_actions=10)


def _critics(*signs: float) -> SetCritics:
    """Costs sign * relu(s + a), by one sign for each critic."""
    critics = SetCritics(_ONE, (1,))
    for network, sign in zip(critics.networks, signs, strict=True):
        for name, parameter in network.named_parameters():
            torch.nn.init.constant_(parameter, float("bias" not in name))
        assert isinstance(network, ActionValueNetwork)
        torch.nn.init.constant_(network.out.weight, sign)
    return critics


def _actions(*features: float) -> ActionSet:
    return ActionSet(tuple(map(str, features)), np.array(features, np.float32).reshape(-1, 1))


def _batch(**changes: Any) -> TransitionBatch:
    fields: dict[str, Any] = {
        "state": np.array([1.0], np.float32),
        "actions": _actions(0.0, 4.0),
        "action": 1,
        "reward": 3.0,
        "cost": 2.0,
        "next_state": np.array([2.0], np.float32),
        "next_actions": _actions(1.0, 3.0),
        "terminated": False,
    }
    return collate([a_transition(**(fields | changes))], _ONE, _CPU)


class _Prefers(FixedPolicy):
    """Values actions by their feature times `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        del state
        return self.factor * actions.features[:, 0]


class _Notes(LearnsInBatches):
    """A learner that keeps what it is given. `is_refused`: what it says of its updates."""

    def __init__(self, is_refused: float = 0.0) -> None:
        super().__init__(None, {})
        self.policy = _Prefers(1.0)
        self.seen: list[TransitionBatch] = []
        numbers = {"loss": 7.0, "skipped_non_finite": is_refused}
        self._metrics = {name: torch.tensor(value) for name, value in numbers.items()}

    def observe(self, new: TransitionBatch) -> None:
        self.seen.append(new)

    def update(self, batch: TransitionBatch) -> Update:
        self.seen.append(batch)
        return Update(self._metrics, torch.ones(len(batch.reward)))

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        self.seen += everything

    def learn_rollout(
        self, rollout: Rollout, generator: torch.Generator, run: Runner
    ) -> list[Update]:
        del generator, run
        self.seen.append(rollout.batch)
        return [Update(self._metrics)] * 2


def _constrained(learner: PolicyLearner, **options: Any) -> ConstrainedLearner:
    config = RewardConstrainedConfig(**{"cost_limit": 1.0, "hidden": (4,), **options})
    constrained = config.constrain(learner, _ONE)
    assert isinstance(constrained, ConstrainedLearner)
    return constrained


def test_costs_are_taken_off_rewards_at_the_price_of_the_multiplier() -> None:
    batch = _batch()

    # 3 - 0.5 * 2
    assert penalized(batch, 0.5).reward.tolist() == [2.0]
    assert batch.reward.tolist() == [3.0]


def test_a_batch_without_costs_keeps_its_rewards() -> None:
    assert penalized(_batch(cost=0.0), 50.0).reward.tolist() == [3.0]


def test_rows_with_and_without_costs_go_together() -> None:
    transitions = [
        a_transition(
            state=np.zeros(1, np.float32), actions=_actions(1.0), action=0, reward=1, cost=c
        )
        for c in (0.0, 4.0)
    ]

    assert penalized(collate(transitions, _ONE, _CPU), 0.25).reward.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("signs", [(1.0, -1.0), (-1.0, 1.0)])
def test_the_dearer_critic_counts(signs: tuple[float, float]) -> None:
    # s + a = 2 + 3; the other critic says -5.
    batch = _batch()
    cost = expected_cost(_Prefers(1.0), _critics(*signs), batch.next_state, batch.next_actions)

    assert cost.tolist() == [5.0]


def test_a_policy_of_values_is_expected_to_do_what_it_values_most() -> None:
    batch = _batch()
    cost = expected_cost(_Prefers(-1.0), _critics(1.0, 1.0), batch.next_state, batch.next_actions)

    assert cost.tolist() == [3.0]


def test_an_actor_is_expected_to_do_what_it_does_in_proportion_to_its_probabilities() -> None:
    actor = ActorPolicy(_ONE, (1,))
    for parameter in actor.parameters():
        torch.nn.init.constant_(parameter, 0.0)
    batch = _batch()

    # Equal logits: (2 + 1) / 2 + (2 + 3) / 2.
    with torch.no_grad():
        cost = expected_cost(actor, _critics(1.0, 1.0), batch.next_state, batch.next_actions)
    assert cost.tolist() == [4.0]


def test_where_nothing_can_be_done_nothing_is_paid() -> None:
    empty = ragged([ActionSet((), np.zeros((0, 1), np.float32))])

    for policy in (_Prefers(1.0), ActorPolicy(_ONE, (1,))):
        cost = expected_cost(policy, _critics(1.0, 1.0), torch.ones(1, 1), empty)
        assert cost.tolist() == [0.0]


def test_the_loss_of_costs_is_squared_and_of_both_critics() -> None:
    # The taken action costs 1 + 4 = 5 and -5; against 3 the errors are 2 and -8: 4 / 2 + 64 / 2.
    loss = cost_loss(_critics(1.0, -1.0), _batch(), torch.tensor([3.0]))

    assert loss.item() == 34.0


@pytest.mark.parametrize(
    ("multiplier", "excess", "moved"),
    [(1.0, 2.0, 1.2), (1.0, -2.0, 0.8), (0.1, -2.0, 0.0), (4.9, 2.0, 5.0)],
)
def test_the_multiplier_follows_the_excess_within_its_range(
    multiplier: float, excess: float, moved: float
) -> None:
    found = moved_multiplier(torch.tensor(multiplier), torch.tensor(excess), 0.1, 5.0)

    assert found.item() == pytest.approx(moved)


def test_whatever_the_learner_is_given_is_penalized() -> None:
    notes, batch = _Notes(), _batch()
    learner = _constrained(notes, initial_multiplier=1.0, multiplier_rate=1e-9)

    learner.observe(batch)
    learner.update(batch)
    learner.refresh([batch])
    rollout = Rollout(batch, torch.tensor([0, 1]))
    learner.learn_rollout(rollout, torch.Generator().manual_seed(0), one_by_one)

    assert [round(float(seen.reward), 3) for seen in notes.seen] == [1.0] * 4


def test_each_update_moves_the_critics_and_the_multiplier_and_passes_on_what_the_learner_reports() -> (
    None
):
    learner = _constrained(_Notes(), cost_limit=-10.0, multiplier_rate=0.1)
    before = fingerprint(below("cost_critics", learner.training_state()))

    metrics, errors = learner.update(_batch())

    assert metrics["loss"] == 7.0
    assert errors is not None
    assert learner.multiplier == pytest.approx(0.1 * (float(metrics["expected_cost"]) + 10.0))
    assert metrics["cost_multiplier"] == learner.multiplier > 0
    assert fingerprint(below("cost_critics", learner.training_state())) != before


def test_an_update_that_the_learner_refused_moves_nothing() -> None:
    learner = _constrained(_Notes(is_refused=1.0), cost_limit=-10.0)
    before = weights_and_moments(learner)

    learner.update(_batch())
    learner.learn_rollout(Rollout(_batch(), torch.tensor([0, 1])), torch.Generator(), one_by_one)

    assert weights_and_moments(learner) == before


def test_a_cost_that_is_not_finite_moves_neither_critics_nor_multiplier() -> None:
    learner = _constrained(_Notes(), cost_limit=-10.0)
    before = weights_and_moments(learner)

    metrics, _ = learner.update(_batch(cost=float("nan")))

    assert metrics["skipped_non_finite"] == 1.0
    assert weights_and_moments(learner) == before


def test_expected_costs_are_discounted_sums() -> None:
    # A step that costs 2 leads back to where it began, for ever: 2 / (1 - 0.5) = 4.
    same = {"next_state": np.array([1.0], np.float32), "next_actions": _actions(0.0, 4.0)}
    learner = _constrained(
        _Notes(), discount=0.5, hidden=(16,), learning_rate=0.01, target_mix=0.1, cost_limit=4.0
    )

    for _ in range(400):
        learner.update(_batch(**same))

    metrics, _ = learner.update(_batch(**same))
    assert metrics["expected_cost"].item() == pytest.approx(4.0, abs=0.1)


def test_the_multiplier_and_all_about_costs_survive_a_restart() -> None:
    learner = _constrained(_Notes(), cost_limit=-1.0, multiplier_rate=0.1)
    other = _constrained(_Notes(), cost_limit=-1.0, multiplier_rate=0.1)
    for _ in range(3):
        learner.update(_batch())

    other.load_training_state(learner.training_state())
    for one in (learner, other):
        one.update(_batch())

    assert other.multiplier == learner.multiplier > 0.1
    assert fingerprint(other.training_state()) == fingerprint(learner.training_state())


def test_a_saved_state_is_not_touched_by_further_learning() -> None:
    learner = _constrained(_Notes())
    learner.update(_batch())
    saved = learner.training_state()
    before = fingerprint(saved)

    learner.update(_batch())

    assert fingerprint(saved) == before


def test_a_multiplier_that_starts_beyond_its_range_is_refused() -> None:
    with pytest.raises(ValidationError, match="above `max_multiplier`"):
        RewardConstrainedConfig(cost_limit=1.0, initial_multiplier=3.0, max_multiplier=2.0)


# -- with learners of every sort ----------------------------------------------------------------

_LEARNERS = [c for c in LEARNERS if RewardConstrainedConfig.needs <= c.capabilities]


def _agent(config: PolicyLearnerConfig) -> AgentLearner:
    is_on_policy = "on_policy" in config.capabilities
    return AgentLearner(
        config,
        EpisodicConfig(rollout_transitions=16) if is_on_policy else FifoConfig(capacity=64),
        ScheduleConfig(batch_size=16, warmup_transitions=5, seed=3),
        spec_of(config),
        safety_config=RewardConstrainedConfig(cost_limit=0.1, multiplier_rate=0.01),
    )


@pytest.mark.parametrize(
    "config_class", _LEARNERS, ids=lambda config: config.model_fields["kind"].default
)
def test_any_learner_goes_on_bit_exactly_and_its_multiplier_rises_with_its_costs(
    config_class: type[Any],
) -> None:
    learner, other = _agent(config_class()), _agent(config_class())
    # A rollout of 16 moves the critics four times, and from where they begin they must first learn to rise.
    half = 240 if "on_policy" in config_class.capabilities else 35
    made = made_up(2 * half, spec=spec_of(config_class()))
    stream = [replace(t, cost=t.cost + 1.0) for t in made]

    metrics = learner.learn(stream[:half])
    other.load_training_state(learner.training_state())
    learner.learn(stream[half:])
    other.learn(stream[half:])

    assert all(np.isfinite(value) for value in metrics.values())
    states = [one.training_state() for one in (learner, other)]
    assert float(states[0]["learner.multiplier.value"]) > 0
    for part in ("learner", "policy"):
        assert fingerprint(below(part, states[0])) == fingerprint(below(part, states[1]))
