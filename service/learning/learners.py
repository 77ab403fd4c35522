"""The learner of an agent."""

from __future__ import annotations

import torch

from agent_core.config import AgentConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.parallel import Ranks


def learner_of(
    agent: AgentConfig, device: torch.device, ranks: Ranks | None = None
) -> AgentLearner:
    """A fresh one, on `device`. `ranks`: the processes that train it together, if there are several.

    Raises:
        ConfigError: several processes cannot train it.
    """
    return AgentLearner(
        agent.policy_learner,
        agent.replay,
        agent.schedule,
        agent.spec,
        device,
        agent.safety,
        ranks,
    )
