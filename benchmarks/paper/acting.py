"""One version of a policy at play in a gymnasium environment, over action sets or a box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from agent_core.agent import Agent
from agent_core.box_agent import BoxAgent
from agent_core.config import AgentConfig
from agent_core.interfaces import BoxPolicy, Policy, ServedPolicy
from agent_core.types import ActionSet, Floats


@dataclass(frozen=True, slots=True)
class Taken:
    """What was done. `played`: what the environment steps with. `actions`, `index`, `propensity`: as a
    `Transition` has them."""

    played: Any
    actions: ActionSet
    index: int
    propensity: float

    @property
    def features(self) -> Floats:
        """`[D]`: the action, represented."""
        row: Floats = self.actions.features[self.index]
        return row


class Acting(Protocol):
    """The acting half of an agent, whose policy is replaced from time to time."""

    def load(self, policy: ServedPolicy, experience: int) -> None:
        """Acts by a copy of `policy` from now on."""
        ...

    def offered(self, info: Mapping[str, Any]) -> ActionSet | None:
        """The actions that `info`, of the environment, leaves available; None in a box."""
        ...

    def take(
        self, state: Floats, offered: ActionSet | None, *, seed: int, episode: int, explore: bool
    ) -> Taken:
        """Decides."""
        ...


def acting_for(config: AgentConfig, environment: gymnasium.Env[Any, Any]) -> Acting:
    """What can act in `environment`.

    Raises:
        TypeError: `config` has other actions than `environment`.
    """
    actions = environment.action_space
    if isinstance(actions, spaces.Discrete) and config.box is None:
        return SetActing(config, int(actions.n))
    if isinstance(actions, spaces.Box) and config.box is not None:
        return BoxActing(config)
    what = "sets" if config.box is None else "a box"
    raise TypeError(f"the policy has actions in {what}, the environment in {actions}; use one kind")


class SetActing:
    """Over the actions 0 to `count` - 1, or those that `info["available_actions"]` names."""

    def __init__(self, config: AgentConfig, count: int) -> None:
        self._config = config
        ids = [str(action) for action in range(count)]
        self._features = config.representation().encode(ids, np.zeros((count, 0), np.float32))
        self._sets: dict[tuple[int, ...], ActionSet] = {}
        self._prepared: dict[tuple[str, ...], Floats] = {}
        self._agent: Agent | None = None

    def load(self, policy: ServedPolicy, experience: int) -> None:
        self._agent = Agent(self._config, cast("Policy", policy), experience=experience)
        self._prepared.clear()

    def offered(self, info: Mapping[str, Any]) -> ActionSet:
        available = tuple(info.get("available_actions", range(len(self._features))))
        if available not in self._sets:
            ids = tuple(str(action) for action in available)
            self._sets[available] = ActionSet(ids, self._features[list(available)])
        return self._sets[available]

    def take(
        self, state: Floats, offered: ActionSet | None, *, seed: int, episode: int, explore: bool
    ) -> Taken:
        assert self._agent is not None
        assert offered is not None
        if offered.ids not in self._prepared:
            self._prepared[offered.ids] = self._agent.prepare(offered)
        decision = self._agent.act(
            state,
            offered,
            self._prepared[offered.ids],
            seed=seed,
            episode=episode,
            explore=explore,
        )
        played = int(offered.ids[decision.index])
        return Taken(played, offered, decision.index, decision.propensity)


class BoxActing:
    """Over continuous actions."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._agent: BoxAgent | None = None

    def load(self, policy: ServedPolicy, experience: int) -> None:
        self._agent = BoxAgent(self._config, cast("BoxPolicy", policy), experience=experience)

    def offered(self, info: Mapping[str, Any]) -> None:
        """There is no set."""

    def take(
        self, state: Floats, offered: ActionSet | None, *, seed: int, episode: int, explore: bool
    ) -> Taken:
        assert self._agent is not None
        decision = self._agent.act(state, seed=seed, explore=explore)
        alone = ActionSet(("",), decision.action[None])
        return Taken(decision.action, alone, 0, decision.density)
