"""Whose decisions are judged: what each of them would have done in a logged step.

A target is sent to other processes as it is, so it holds what it is made of; the agent itself is made once in
each process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from agent_core.agent import Agent, seed_of
from agent_core.box_agent import BoxAgent
from agent_core.errors import EmptyActionSetError
from agent_core.interfaces import BoxPolicy
from agent_core.snapshot import restore_policy
from agent_core.types import Doubles
from service.evaluation.errors import EvaluationError
from service.evaluation.steps import LoggedStep
from service.policies.artefacts import ArtefactStore
from service.policies.encoding import CONTINUOUS_ID
from service.policies.store import read_config

WITHOUT_REGISTRY: Final = ("uniform", "behaviour", "logged")


class Target(Protocol):
    """`name`: as reports call it."""

    @property
    def name(self) -> str: ...

    def answer(self, step: LoggedStep) -> Doubles:
        """`[A]`: how likely it is to take each of the step's actions. For a continuous action `[D]`: the one
        that it takes itself, without exploration.

        Raises:
            AgentCoreError: it cannot decide here.
            ValueError: the step lacks what is needed, or is not of the target's kind; says what to do.
        """
        ...


def is_continuous(step: LoggedStep) -> bool:
    """Whether the step's only action is one out of a box."""
    return step.actions.ids == (CONTINUOUS_ID,)


def named(name: str) -> Target:
    """One of the targets that need no version: see `WITHOUT_REGISTRY`."""
    found: dict[str, Target] = {
        "uniform": Uniform(),
        "behaviour": Behaviour(),
        "logged": Logged(),
    }
    return found[name]


def version_of(target: str, policy: str) -> int:
    """The number in `7` or `digits@7`.

    Raises:
        EvaluationError: it is none, or one of another policy.
    """
    name, at, number = target.rpartition("@")
    if not number.isdecimal():
        there_are = ", ".join(f"`{one}`" for one in WITHOUT_REGISTRY)
        raise EvaluationError(
            f"`{target}` is no target; name a version such as 7 or {policy or 'digits'}@7, or {there_are}"
        )
    if at and name != policy:
        raise EvaluationError(
            f"`{target}` is a version of `{name}`, and the log is of `{policy}`; evaluate it there"
        )
    return int(number)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every allowed action equally often."""

    name: str = "uniform"

    def answer(self, step: LoggedStep) -> Doubles:
        if is_continuous(step):
            raise _no_distribution("no uniform policy")
        allowed = np.ones(len(step.actions))
        if step.allowed is not None:
            allowed[~step.allowed] = 0.0
        shares: Doubles = allowed / allowed.sum()
        return shares


def _no_distribution(found: str) -> ValueError:
    return ValueError(f"there is {found} over continuous actions; name a version, with --greedy")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Who made the log: every ratio is 1, so this tells whether the log and its numbers are sound."""

    name: str = "behaviour"

    def answer(self, step: LoggedStep) -> Doubles:
        if is_continuous(step):
            raise _no_distribution("nothing to ask who made the log")
        if step.behaviour is None:
            raise ValueError(
                "the row has the propensity of the action alone, or probabilities of one arm where several were drawn"
                " from; give the probabilities of all actions, as they were drawn from, or evaluate a version"
            )
        return step.behaviour


@dataclass(frozen=True, slots=True)
class Logged:
    """A policy whose probabilities the log brings itself."""

    name: str = "logged"

    def answer(self, step: LoggedStep) -> Doubles:
        if step.target is None:
            raise ValueError(
                "the row has no `target_probabilities`; add them, or evaluate another target"
            )
        return step.target


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a policy, assembled as servers do.

    `config`: the stored configuration that it was made under. `artefacts`: the folder of all snapshots.
    `is_greedy`: without exploration, and without the floor of propensities.
    """

    policy: str
    version: int
    config: bytes
    artefacts: Path
    is_greedy: bool = False

    @property
    def name(self) -> str:
        return f"{self.policy}@{self.version}" + (" (greedy)" if self.is_greedy else "")

    def check(self) -> None:
        """Loads the snapshot, so that a bad one is known before a log is read.

        Raises:
            SnapshotError: it is missing or damaged.
            EvaluationError: it makes continuous actions, and is to explore.
        """
        agent = self._agent()
        if isinstance(agent, BoxAgent) and not self.is_greedy:
            raise EvaluationError(
                f"{self.name} makes continuous actions, which are evaluated without exploration; add --greedy"
            )

    def answer(self, step: LoggedStep) -> Doubles:
        agent = self._agent()
        spec = agent.config.spec
        for what, found, expected in (
            ("the state", len(step.state), spec.state_dim),
            ("each action", step.actions.features.shape[1], spec.action_dim),
        ):
            if found != expected:
                raise ValueError(
                    f"{what} has {found} numbers and {self.name} takes {expected}; "
                    "evaluate it on a log of its own feature schema"
                )
        seed = seed_of(step.decision_id, self.policy)
        if isinstance(agent, BoxAgent):
            return agent.act(step.state, seed=seed, explore=False).action.astype(np.float64)
        prepared = agent.prepare(step.actions)
        excluded = None if step.allowed is None else ~step.allowed
        try:
            return agent.probabilities(
                step.state, step.actions, prepared, seed=seed, excluded=excluded, explore=not self.is_greedy
            )  # fmt: skip
        except EmptyActionSetError:
            raise ValueError(
                f"{self.name} allows none of the actions, so its fallback would have decided"
            ) from None

    def _agent(self) -> Agent | BoxAgent:
        return _assembled(self.config, self.artefacts, self.policy, self.version)


@lru_cache(maxsize=4)
def _assembled(config: bytes, artefacts: Path, policy: str, version: int) -> Agent | BoxAgent:
    agent, snapshot = read_config(config).agent, ArtefactStore(artefacts).load(policy, version)
    restored = restore_policy(snapshot, agent)
    made = BoxAgent if isinstance(restored, BoxPolicy) else Agent
    return made(agent, restored, experience=snapshot.experience)
