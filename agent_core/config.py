"""The whole configuration of one agent, and whether its parts can work together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from agent_core.action_representation.identity import IdentityConfig
from agent_core.config_problems import problems_of
from agent_core.config_rules import conflicts_of
from agent_core.errors import ConfigError, ConfigProblem
from agent_core.features.featurizer import Featurizer
from agent_core.features.fingerprint import fingerprint, schema_fingerprint
from agent_core.features.plain import BoxConfig, NoFeaturesConfig
from agent_core.history.none import NoHistoryConfig
from agent_core.interfaces import ActionRepresentation, HistoryModule, ModuleConfig
from agent_core.policy_files import load_policy_data
from agent_core.registry import (
    AnyActions,
    AnyExploration,
    AnyFeatures,
    AnyHistory,
    AnyLearner,
    AnyReplay,
    AnyRepresentation,
    AnySafety,
)
from agent_core.safety.none import NoSafetyConfig
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import Box, ProblemSpec

__all__ = ["AgentConfig", "load_policy_data", "parse_agent_config", "problems_of"]


class AgentConfig(ModuleConfig):
    """One agent. Whole when constructed: parts that cannot work together raise `ConfigError`.

    `max_actions`: the largest action set that one decision may have. `min_propensity`: the smallest
    probability of every allowed action while exploring, mixed in as uniform; 0 leaves the exploration
    as it is.
    """

    observation: AnyFeatures
    actions: AnyActions = NoFeaturesConfig()
    max_actions: int = Field(default=1000, ge=1, le=1_000_000)
    policy_learner: AnyLearner
    exploration: AnyExploration
    action_representation: AnyRepresentation = IdentityConfig()
    history: AnyHistory = NoHistoryConfig()
    safety: AnySafety = NoSafetyConfig()
    replay: AnyReplay | None = None
    schedule: ScheduleConfig = ScheduleConfig()
    min_propensity: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _parts_work_together(self) -> Self:
        if problems := list(conflicts_of(self, frozenset(type(self).model_fields))):
            raise ConfigError(problems)
        return self

    @cached_property
    def spec(self) -> ProblemSpec:
        """The sizes that every module is built for, and what its networks share."""
        representation, history = self.representation(), self.history_module()
        return ProblemSpec(
            history.state_dim,
            representation.dim,
            self.max_actions,
            history.summary,
            self.action_representation.embedding(),
            self.safety.risk(),
            self.box,
        )

    @property
    def box(self) -> Box | None:
        """The limits of continuous actions; None if actions come as sets."""
        actions = self.actions
        return Box(actions.low, actions.high) if isinstance(actions, BoxConfig) else None

    @cached_property
    def feature_schema(self) -> str:
        """ "fs:" and 12 hex digits: names how observations and actions become vectors."""
        history = None if isinstance(self.history, NoHistoryConfig) else self.history
        return schema_fingerprint(
            self.observation, self.actions, self.action_representation, history
        )

    @cached_property
    def config_hash(self) -> str:
        """ "c:" and 12 hex digits: names everything here, defaults included."""
        return fingerprint("c", self)

    def observation_featurizer(self) -> Featurizer:
        """Encodes observations."""
        return Featurizer(self.observation)

    def action_featurizer(self) -> Featurizer:
        """Encodes the features of actions."""
        return Featurizer(self.actions)

    def representation(self) -> ActionRepresentation:
        """Turns ids and encoded features of actions into what the policy sees."""
        return self.action_representation.build(self.actions.dim)

    def history_module(self) -> HistoryModule:
        """Turns what was seen before into a part of the state."""
        return self.history.build(self.observation.dim, self.representation().dim)


def parse_agent_config(data: object) -> AgentConfig:
    """An agent's configuration from plain data.

    Raises:
        ConfigError: with every malformed field, and every conflict among the fields that are well
            formed, at once.
    """
    if not isinstance(data, Mapping):
        raise ConfigError([ConfigProblem("", "is not a mapping", "use names and values")])
    try:
        return AgentConfig.model_validate(dict(data))
    except ValidationError as error:
        problems = problems_of(error, AgentConfig)
    parts = _well_formed(data)
    partial = AgentConfig.model_construct(None, **parts)
    raise ConfigError([*problems, *conflicts_of(partial, frozenset(parts))])


def _well_formed(data: Mapping[str, Any]) -> dict[str, Any]:
    parts = {}
    for name, field in AgentConfig.model_fields.items():
        if name not in data:
            if not field.is_required():
                parts[name] = field.get_default()
            continue
        slot: Any = Annotated[field.annotation, field]
        try:
            parts[name] = TypeAdapter(slot).validate_python(data[name])
        except ValidationError:
            continue
    return parts
