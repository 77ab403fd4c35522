"""The learn half of an agent, from its policy file. The other half is `agent` or `box_agent`."""

from __future__ import annotations

import torch

from agent_core.config import AgentConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.parallel import Ranks


def learner_of(
    agent: AgentConfig, device: torch.device | None = None, ranks: Ranks | None = None
) -> AgentLearner:
    """A fresh one, on `device`; on the host if not given. `ranks`: the processes that train it together, if there are
    several.

    Raises:
        ConfigError: several processes cannot train it.
    """
    parts = (agent.policy_learner, agent.replay, agent.schedule, agent.spec)
    return AgentLearner(*parts, device, agent.safety, ranks)
