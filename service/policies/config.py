"""The policy file: one per policy, YAML, TOML or JSON, one model, and every default."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError

from agent_core.config import AgentConfig, load_policy_data, parse_agent_config, problems_of
from agent_core.errors import ConfigError, ConfigProblem
from agent_core.features.near_miss import near_miss
from service.approvals import rule as approvals
from service.approvals.rule import ApprovalRule
from service.monitoring.rule import MonitoringRule
from service.policies.section import Section
from service.rollout.rule import RolloutRule
from service.trips.rule import TripRule

PolicyName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Durability = Literal["async", "stream", "replicated", "fsync"]


def _rising(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] >= interval[1]:
        raise ValueError("is empty; write [low, high] with low below high")
    return interval


Interval = Annotated[tuple[float, float], AfterValidator(_rising)]
"""`[low, high]`, both included."""
Weight = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Bounded, as what is weighted is: a total is finite whatever the weights are changed to."""


TOTALLING: Final = ("default", "aggregation", "components")
"""Fields of a reward rule that decide what number rewards become; a model learns from one such rule."""


class RewardRule(Section):
    """How rewards become one number.

    `wait_s`: how long a decision waits for rewards. `default`: its reward if none came.
    `components`: weights of named parts (`{"click": 1, "dwell_s": 0.01}`). `guards`: parts that are
    recorded and watched, and never belong to the reward. `bounds`: what a part may be, by its name.
    `range`: what the total of one reward may be.
    """

    wait_s: float = Field(600.0, gt=0, le=90 * 86400)
    default: float = 0.0
    aggregation: Literal["sum", "first", "last", "max", "min", "mean"] = "sum"
    components: dict[str, Weight] = {}
    guards: list[str] = []
    bounds: dict[str, Interval] = {}
    range: Interval | None = None
    early_s: float = Field(120.0, gt=0)
    early_limit: int = Field(10_000, gt=0)

    @property
    def names(self) -> list[str]:
        """Every part that a reward may have, the weighted ones first."""
        return [*self.components, *self.guards]

    @property
    def total_hash(self) -> str:
        """ "t:" and 12 hex digits: names how rewards become one number."""
        canonical = json.dumps({name: getattr(self, name) for name in TOTALLING}, sort_keys=True)
        return f"t:{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"

    def transition_schema(self, feature_schema: str) -> str:
        """Names what all transitions share that one model learns from: their features, and how their rewards
        became numbers."""
        return f"{feature_schema}+{self.total_hash}"

    def conflicts(self) -> list[ConfigProblem]:
        """Parts that are named twice or not at all."""
        both = [
            ConfigProblem(f"reward.guards.{at}", f"'{name}' has a weight", "remove one of the two")
            for at, name in enumerate(self.guards)
            if name in self.components
        ]
        unknown = [
            ConfigProblem(f"reward.bounds.{name}", "is no part of a reward", self._remedy(name))
            for name in self.bounds
            if name not in self.names
        ]
        return both + unknown

    def _remedy(self, name: str) -> str:
        return near_miss(name, self.names) or "declare it in `components` or `guards`"


class EpisodeRule(Section):
    """Decisions follow one another; an episode idle for `idle_s` is sealed as truncated."""

    idle_s: float = Field(300.0, gt=0)


class LearningRule(Section):
    """When the learner trains and publishes.

    `publish_every_s`: at most one version in that time, and only if something was learned.
    `from_shadow`: whether decisions that somebody else made are learned from.
    `auto_promote`: whether a published version goes live by itself. `keep_versions`: how many of the
    newest versions stay besides the live one and the one before it; only a decision whose version is
    kept can be computed again.
    """

    continuous: bool = True
    publish_every_s: float = Field(1.0, gt=0)
    checkpoint_every_s: float = Field(10.0, gt=0)
    from_shadow: bool = False
    auto_promote: bool = True
    keep_versions: int = Field(500, ge=2)


class PolicyRules(Section):
    """Everything of a policy but its agent; a class of its own so that a broken agent section does not
    hide what is wrong with the others.

    `fallback`: what to answer when no agent can: the request's baseline action, a uniform draw, or the
    first action. `empty_action_set`: refuse with 422, or answer the baseline. `durability`: what
    must have happened before /act answers: nothing (`async`), in Redis (`stream`), on a replica too
    (`replicated`), or on Redis' disk (`fsync`, needs `appendfsync always`). `retention_s`: how long a
    closed decision can be looked up in Redis. `log_limit`: archived events that stay in Redis, for the
    audit. `replay_limit`: transitions that stay in Redis, for the learner.
    """

    policy: PolicyName
    reward: RewardRule = RewardRule()
    episodes: EpisodeRule | None = None
    learning: LearningRule = LearningRule()
    rollout: RolloutRule = RolloutRule()
    trips: TripRule = TripRule()
    monitoring: MonitoringRule = MonitoringRule()
    approval: ApprovalRule | None = None
    fallback: Literal["baseline", "uniform", "first"] = "baseline"
    empty_action_set: Literal["refuse", "baseline"] = "refuse"
    durability: Durability = "stream"
    deadline_ms: float = Field(500.0, gt=0, le=60_000)
    retention_s: float = Field(86_400.0, gt=0)
    log_limit: int = Field(20_000, gt=0)
    replay_limit: int = Field(200_000, gt=0)


class PolicyConfig(PolicyRules):
    """One policy: its rules and its agent."""

    agent: AgentConfig

    @cached_property
    def config_hash(self) -> str:
        """Names everything that decides: "c:" and 12 hex digits of the canonical agent section, and of the other
        rules that a decision depends on where any of them is declared."""
        asks, held = self.approval, self.rollout.holdback
        envelope = {"envelope", "least_confidence"}
        rules = [
            asks.model_dump(mode="json", include=envelope)
            if asks and asks.is_about_decisions
            else None,
            held.kind if held else None,
            self.trips.least_confidence or None,
        ]
        if not any(rules):
            return self.agent.config_hash
        canonical = json.dumps(
            [self.agent.config_hash, self.fallback, self.empty_action_set, rules], sort_keys=True
        )
        return f"c:{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"

    @property
    def transition_schema(self) -> str:
        """Names what all transitions share that a model of this policy learns from."""
        return self.reward.transition_schema(self.agent.feature_schema)

    @property
    def fingerprint(self) -> str:
        """Changes when anything in the file changes."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def parse_policy(data: Mapping[str, Any]) -> PolicyConfig:
    """A policy from plain data.

    Raises:
        ConfigError: with every problem of every section at once.
    """
    problems: list[ConfigProblem] = []
    rules = {name: value for name, value in data.items() if name != "agent"}
    try:
        PolicyRules.model_validate(rules)
    except ValidationError as error:
        problems += problems_of(error, PolicyRules)
    try:
        agent = parse_agent_config(data.get("agent", {}))
    except ConfigError as error:
        problems += [ConfigProblem(f"agent.{p.path}", p.problem, p.fix) for p in error.problems]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    policy = PolicyConfig.model_validate({**rules, "agent": agent})
    if conflicts := _conflicts(policy):
        raise ConfigError(conflicts)
    return policy


def _conflicts(policy: PolicyConfig) -> list[ConfigProblem]:
    found = policy.reward.conflicts()
    found += _reward_range_conflicts(policy)
    found += _rollout_conflicts(policy)
    if policy.approval is not None:
        found += approvals.problems(policy.approval, policy.agent)
        found += _approval_conflicts(policy, policy.approval)
    is_sequential = "sequential" in policy.agent.policy_learner.capabilities
    if policy.episodes and not is_sequential:
        found.append(
            ConfigProblem(
                "episodes",
                f"'{policy.agent.policy_learner.kind}' ignores what follows a decision",
                "remove `episodes` or choose a sequential learner such as `dqn`",
            )
        )
    return found


def _reward_range_conflicts(policy: PolicyConfig) -> Iterator[ConfigProblem]:
    """An exploration that weighs gaps as shares of a range is as greedy as that range is too narrow."""
    exploration, rule = policy.agent.exploration, policy.reward
    inner = getattr(exploration, "then", None)  # what a warm-up ends in
    assumed = getattr(inner or exploration, "reward_range", None)
    at = "agent.exploration.then.reward_range" if inner else "agent.exploration.reward_range"
    if assumed is None:
        return
    if rule.range is None:
        yield ConfigProblem(
            "reward.range",
            f"is missing, and '{(inner or exploration).kind}' weighs values as shares of it",
            f"declare [low, high] of one reward's total, within `{at}`: {_interval(assumed)}",
        )
        return
    least, most = min(rule.range[0], rule.default), max(rule.range[1], rule.default)
    if least < assumed[0] or most > assumed[1]:
        yield ConfigProblem(
            at,
            f"is {_interval(assumed)}, but rewards are declared to lie in {_interval((least, most))}",
            f"use {_interval((least, most))}, or more where several rewards are added up",
        )


def _interval(limits: tuple[float, float]) -> str:
    return f"[{limits[0]:g}, {limits[1]:g}]"


def _rollout_conflicts(policy: PolicyConfig) -> Iterator[ConfigProblem]:
    if policy.rollout.is_automatic and policy.learning.auto_promote:
        yield ConfigProblem(
            "rollout.is_automatic",
            "the learner's versions would go live without the rollout",
            "set `learning.auto_promote` to false",
        )


def _approval_conflicts(policy: PolicyConfig, rule: ApprovalRule) -> Iterator[ConfigProblem]:
    if rule.promotions and policy.learning.auto_promote:
        yield ConfigProblem(
            "learning.auto_promote",
            "versions would go live without the approval that `approval.promotions` asks for",
            "set it to false; a rollout asks for the approval when it is time",
        )
    waits = rule.is_about_decisions and rule.otherwise == "hold"
    if policy.episodes and waits and policy.episodes.idle_s <= rule.wait_s:
        yield ConfigProblem(
            "episodes.idle_s",
            f"an episode would be sealed while a decision of it waits up to {rule.wait_s:g} s for a person",
            "make it longer than `approval.wait_s`",
        )


def load_policy(path: Path) -> PolicyConfig:
    """Reads a policy file.

    Raises:
        ConfigError: with every problem at once, the file's own syntax included.
    """
    return parse_policy(load_policy_data(path))
