"""Implicit Q-learning over a box: Kostrikov et al. 2022."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.box import BoxCritics
from agent_core.policy_learners.box import TruncatedGaussianPolicy, chosen_log_density
from agent_core.policy_learners.implicit import CriticForm, ImplicitConfig, ImplicitLearner
from agent_core.types import ProblemSpec


class IqlConfig(ImplicitConfig):
    """The policy is a normal distribution, cut off at the limits of the box."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "replay", "gradient", "actor", "td_error"}
    )
    kind: Literal["iql"] = "iql"

    def build_policy(self, spec: ProblemSpec) -> TruncatedGaussianPolicy:
        return TruncatedGaussianPolicy(spec, self.hidden)

    def build_learner(self, policy: TruncatedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        log_chosen = partial(chosen_log_density, policy.actor)
        return ImplicitLearner(policy, policy.actor, log_chosen, _FORM, self, spec)


_FORM = CriticForm(partial(BoxCritics, members=2), BoxCritics.chosen)
