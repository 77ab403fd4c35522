"""TD3 with behaviour cloning, for logged data: Fujimoto & Gu 2021, "A Minimalist Approach to Offline RL".

The paper also standardizes states; here that is the business of the features.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.box import BoxActor, BoxCritics
from agent_core.policy_learners.box import DeterministicBoxPolicy
from agent_core.policy_learners.deterministic import DeterministicLearner, TwinDelayedConfig
from agent_core.types import ProblemSpec, TransitionBatch


class Td3BcConfig(TwinDelayedConfig):
    """`value_weight`: alpha of the paper, what value counts against likeness to the log; 0 clones it."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "replay", "gradient", "td_error"}
    )
    kind: Literal["td3_bc"] = "td3_bc"
    learning_rate: float = Field(default=3e-4, gt=0)
    value_weight: float = Field(default=2.5, ge=0)

    def build_learner(self, policy: DeterministicBoxPolicy, spec: ProblemSpec) -> PolicyLearner:
        return DeterministicLearner(
            policy,
            partial(cloning_value_loss, value_weight=self.value_weight),
            self,
            spec,
            critics=2,
            actor_period_updates=self.actor_period_updates,
            smoothing=self.smoothing,
            smoothing_limit=self.smoothing_limit,
        )


def cloning_value_loss(
    actor: BoxActor, critics: BoxCritics, batch: TransitionBatch, *, value_weight: float
) -> torch.Tensor:
    """The mean of weight * (squared distance to the logged action - lambda * value); Fujimoto & Gu 2021,
    eq. 3 to 5.

    lambda is `value_weight` over the mean absolute value of the batch, so the balance does not depend
    on the unit of the reward. The distance is in the unit box, averaged over its dimensions.
    """
    action = actor(batch.state)
    value = critics.first(batch.state, action)
    share = value_weight / value.detach().abs().mean().clamp_min(_SMALLEST)
    apart = actor.units.to_unit(action) - actor.units.to_unit(batch.chosen_features())
    return (batch.weight * (apart.square().mean(dim=1) - share * value)).mean()


_SMALLEST = 1e-8
