"""Implicit Q-learning over action sets: Kostrikov et al. 2022."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.twin_critics import TwinCritics
from agent_core.policy_learners.actor import ActorPolicy, chosen_log_probability
from agent_core.policy_learners.implicit import CriticForm, ImplicitConfig, ImplicitLearner
from agent_core.types import ProblemSpec


class DiscreteIqlConfig(ImplicitConfig):
    """The policy is a softmax over the actions that are available."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "actor", "td_error"}
    )
    kind: Literal["discrete_iql"] = "discrete_iql"
    weight_decay: float = Field(default=0.0, ge=0)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        actor = policy.network
        log_chosen = partial(chosen_log_probability, actor)
        return ImplicitLearner(policy, actor, log_chosen, _FORM, self, spec, self.weight_decay)


_FORM = CriticForm(TwinCritics, TwinCritics.chosen)
