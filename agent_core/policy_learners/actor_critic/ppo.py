"""Proximal policy optimization over action sets that change from one decision to the next.

Schulman et al. 2017.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from agent_core.functional.policy_gradient import entropies
from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.proximal import Judged, ProximalConfig, ProximalLearner
from agent_core.types import ProblemSpec


class PpoConfig(ProximalConfig):
    """The policy is a softmax over the actions that are available."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "on_policy", "gradient", "actor"}
    )
    kind: Literal["ppo"] = "ppo"
    weight_decay: float = Field(default=0.0, ge=0)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        chances = partial(set_chances, policy.network)
        return ProximalLearner(policy, policy.network, chances, self, spec, self.weight_decay)


def set_chances(actor: ActionValueNetwork, judged: Judged) -> tuple[torch.Tensor, torch.Tensor]:
    """`Chances` over the available actions."""
    log_p = log_policy(actor, judged.state, judged.actions)
    chosen = log_p.index_select(0, judged.chosen_rows())
    return chosen, entropies(log_p, judged.actions)
