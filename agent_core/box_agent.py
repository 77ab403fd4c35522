"""The composed agent for continuous actions: one policy at one version, ready to decide."""

from __future__ import annotations

import math

import numpy as np

from agent_core.config import AgentConfig
from agent_core.errors import NonFiniteScoresError
from agent_core.interfaces import BoxPolicy, ServedPolicy
from agent_core.types import BoxDecision, Floats


class BoxAgent:
    """Decides, and keeps nothing of it: the same state and seed give the same decision, bit for bit.

        agent = BoxAgent(config, policy, experience=learner.experience)
        decision = agent.act(state, seed=seed_of(decision_id, policy_name))

    `experience`: transitions that the policy has learned from; drives the schedules of exploration.
    """

    def __init__(self, config: AgentConfig, policy: ServedPolicy, *, experience: int) -> None:
        assert isinstance(policy, BoxPolicy), "action sets are for Agent"
        assert config.box is not None
        self.config = config
        self.experience = experience
        self._box = config.box
        self._scorer = policy.scorer()
        self._exploration = config.exploration.build_box()

    def act(self, state: Floats, *, seed: int, explore: bool = True) -> BoxDecision:
        """`state`: `[S]`. `seed`: 64 bits, the only source of chance. `explore`: False plays the mean.

        Raises:
            NonFiniteScoresError: the action or its density is NaN, or the action is infinite.
        """
        mean = _usable(self._scorer.mean(state))
        if not explore:
            return BoxDecision(mean, math.inf, mean)
        action, density = self._exploration.draw(
            self._scorer, state, self._box, experience=self.experience, seed=seed
        )
        if math.isnan(density):
            raise NonFiniteScoresError("the density is not a number; serve another version")
        return BoxDecision(_usable(action), density, mean)


def _usable(action: Floats) -> Floats:
    if not np.isfinite(action).all():
        raise NonFiniteScoresError("the action is not finite; serve another version")
    return action
