"""The whole configuration of one agent, and whether its parts can work together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from agent_core.action_representation.binary import BinaryConfig
from agent_core.action_representation.identity import IdentityConfig
from agent_core.action_representation.one_hot import OneHotConfig
from agent_core.config_problems import problems_of
from agent_core.errors import ConfigError, ConfigProblem
from agent_core.exploration.none import NoExplorationConfig
from agent_core.features.featurizer import Featurizer
from agent_core.features.fingerprint import fingerprint, schema_fingerprint
from agent_core.features.plain import BoxConfig, NoFeaturesConfig
from agent_core.history.none import NoHistoryConfig
from agent_core.interfaces import ActionRepresentation, Capability, HistoryModule, ModuleConfig
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
    members,
)
from agent_core.safety.action_filter import ActionFilterConfig
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
        if problems := list(_conflicts(self, frozenset(type(self).model_fields))):
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
    raise ConfigError([*problems, *_conflicts(partial, frozenset(parts))])


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


# -- which parts work together ------------------------------------------------------------------


class _Rule(NamedTuple):
    """Yields the conflicts among `fields` of a config; looks at no other field."""

    fields: frozenset[str]
    conflicts: Callable[[AgentConfig], Iterator[ConfigProblem]]


def _conflicts(config: AgentConfig, well_formed: frozenset[str]) -> Iterator[ConfigProblem]:
    for rule in _RULES:
        if rule.fields <= well_formed:
            yield from rule.conflicts(config)


def _learner_lacks(slot: str, options: Any) -> Callable[[AgentConfig], Iterator[ConfigProblem]]:
    """The rule for what the module in `slot` needs of the learner."""

    def conflicts(config: AgentConfig) -> Iterator[ConfigProblem]:
        module, learner = getattr(config, slot), config.policy_learner
        if module is None or not (lacking := module.needs - learner.capabilities):
            return
        fitting = [c for c in members(options) if c.needs <= learner.capabilities]
        learners = [c for c in members(AnyLearner) if module.needs <= c.capabilities]
        yield ConfigProblem(
            slot,
            f"'{module.kind}' needs {_listed(lacking)}, which '{learner.kind}' lacks",
            "use "
            + ", or ".join(
                f"{what} {_kinds(which)}"
                for what, which in ((slot, fitting), ("policy_learner", learners))
                if which
            ),
        )

    return conflicts


def _learner_misses_actions(config: AgentConfig) -> Iterator[ConfigProblem]:
    wanted: Capability = "box" if _is_box(config) else "sets"
    learner = config.policy_learner
    if wanted not in learner.capabilities:
        fitting = [c for c in members(AnyLearner) if wanted in c.capabilities]
        what = "makes no continuous actions" if wanted == "box" else "does not choose from sets"
        fix = f"use policy_learner {_kinds(fitting)}, or other actions"
        yield ConfigProblem("policy_learner", f"'{learner.kind}' {what}", fix)


def _exploration_misses_actions(config: AgentConfig) -> Iterator[ConfigProblem]:
    wanted: Literal["box", "sets"] = "box" if _is_box(config) else "sets"
    if wanted not in config.exploration.serves:
        fitting = [c for c in members(AnyExploration) if wanted in c.serves]
        what = "continuous actions" if wanted == "box" else "action sets"
        problem = f"'{config.exploration.kind}' explores no {what}"
        yield ConfigProblem("exploration", problem, f"use {_kinds(fitting)}")


def _nothing_is_tried(config: AgentConfig) -> Iterator[ConfigProblem]:
    learner, exploration = config.policy_learner, config.exploration
    if "on_policy" in learner.capabilities and isinstance(exploration, NoExplorationConfig):
        wanted: Literal["box", "sets"] = "box" if _is_box(config) else "sets"
        fitting = [
            c
            for c in members(AnyExploration)
            if c is not NoExplorationConfig
            and wanted in c.serves
            and c.needs <= learner.capabilities
        ]
        problem = f"'{learner.kind}' learns only from what it plays, and would try nothing"
        yield ConfigProblem("exploration", problem, f"use {_kinds(fitting)}")


def _sets_are_assumed(config: AgentConfig) -> Iterator[ConfigProblem]:
    if not _is_box(config):
        return
    if not isinstance(config.action_representation, IdentityConfig):
        problem = "continuous actions have no ids to represent"
        yield ConfigProblem("action_representation", problem, "use identity, or leave it out")
    if config.min_propensity:
        problem = "a density has no floor"
        yield ConfigProblem("min_propensity", problem, "leave it out; explore by noise instead")
    if config.safety.build() is not None:
        problem = f"'{config.safety.kind}' filters sets, and there are none"
        yield ConfigProblem("safety", problem, "narrow `actions.low` and `actions.high` instead")


def _replay_is_misplaced(config: AgentConfig) -> Iterator[ConfigProblem]:
    learner = config.policy_learner
    reads = learner.capabilities & {"replay", "on_policy"}
    if reads and config.replay is None:
        fitting = [c for c in members(AnyReplay) if c.needs <= learner.capabilities]
        problem = f"is missing, and '{learner.kind}' learns from it"
        yield ConfigProblem("replay", problem, f"add it: {_kinds(fitting)}")
    if config.replay is not None and not reads:
        yield ConfigProblem("replay", f"is never read by '{learner.kind}'", "remove it")


def _is_box(config: AgentConfig) -> bool:
    return isinstance(config.actions, BoxConfig)


def _replay_is_too_small(config: AgentConfig) -> Iterator[ConfigProblem]:
    if config.replay is None:
        return
    for name in ("batch_size", "warmup_transitions"):
        size, capacity = getattr(config.schedule, name), config.replay.room
        if size > capacity:
            problem = f"{size} is more than the {capacity} transitions that the replay holds"
            yield ConfigProblem(f"schedule.{name}", problem, "lower it, or raise replay.capacity")


def _floor_is_too_high(config: AgentConfig) -> Iterator[ConfigProblem]:
    if config.min_propensity * config.max_actions > 1:
        problem = f"{config.max_actions} actions of that probability each are more than 1 in total"
        fix = f"use at most {1 / config.max_actions:g}, or lower max_actions"
        yield ConfigProblem("min_propensity", problem, fix)


def _actions_look_alike(config: AgentConfig) -> Iterator[ConfigProblem]:
    if isinstance(config.action_representation, IdentityConfig) and not config.actions.dim:
        problem = "'identity' has nothing to tell actions apart by: they have no features"
        fix = "declare features under actions, or use one_hot or binary with their ids"
        yield ConfigProblem("action_representation", problem, fix)


def _ids_are_repeated(config: AgentConfig) -> Iterator[ConfigProblem]:
    if isinstance(config.action_representation, (OneHotConfig, BinaryConfig)):
        counts = Counter(config.action_representation.ids)
        if repeated := [action_id for action_id, count in counts.items() if count > 1]:
            problem = f"lists {_listed(repeated)} more than once"
            yield ConfigProblem("action_representation.ids", problem, "list each id once")


def _ids_are_too_many(config: AgentConfig) -> Iterator[ConfigProblem]:
    representation = config.action_representation
    if isinstance(representation, OneHotConfig) and len(representation.ids) > config.max_actions:
        problem = f"{len(representation.ids)} ids, but max_actions is {config.max_actions}"
        yield ConfigProblem("action_representation.ids", problem, "raise max_actions")


def _history_is_unreadable(config: AgentConfig) -> Iterator[ConfigProblem]:
    """A learned summary reads numbers: not the positions of embedded ids, and not nothing."""
    with_actions = getattr(config.history, "include_actions", False)
    if with_actions and config.action_representation.embedding() is not None:
        problem = "the ids of past actions would be read as plain numbers"
        fix = "set it to false, or use one_hot or binary"
        yield ConfigProblem("history.include_actions", problem, fix)
    if "gradient" in config.history.needs and not with_actions and not config.observation.dim:
        problem = f"'{config.history.kind}' has nothing to read: no observation and no actions"
        yield ConfigProblem("history", problem, "set include_actions to true, or use none")


def _bound_is_outside(config: AgentConfig) -> Iterator[ConfigProblem]:
    if not isinstance(config.safety, ActionFilterConfig):
        return
    dim = config.representation().dim
    for at, bound in enumerate(config.safety.bounds):
        if bound.feature >= dim:
            problem = f"represented actions have {dim} features, counted from 0"
            yield ConfigProblem(f"safety.bounds.{at}.feature", problem, f"use at most {dim - 1}")


_RULES = (
    _Rule(
        frozenset({"exploration", "policy_learner"}), _learner_lacks("exploration", AnyExploration)
    ),
    _Rule(frozenset({"history", "policy_learner"}), _learner_lacks("history", AnyHistory)),
    _Rule(frozenset({"history", "action_representation", "observation"}), _history_is_unreadable),
    _Rule(frozenset({"safety", "policy_learner"}), _learner_lacks("safety", AnySafety)),
    _Rule(
        frozenset({"action_representation", "policy_learner"}),
        _learner_lacks("action_representation", AnyRepresentation),
    ),
    _Rule(frozenset({"actions", "policy_learner"}), _learner_misses_actions),
    _Rule(frozenset({"actions", "exploration"}), _exploration_misses_actions),
    _Rule(frozenset({"actions", "exploration", "policy_learner"}), _nothing_is_tried),
    _Rule(
        frozenset({"actions", "action_representation", "min_propensity", "safety"}),
        _sets_are_assumed,
    ),
    _Rule(frozenset({"replay", "policy_learner"}), _replay_is_misplaced),
    _Rule(frozenset({"replay", "schedule"}), _replay_is_too_small),
    _Rule(frozenset({"min_propensity", "max_actions"}), _floor_is_too_high),
    _Rule(frozenset({"action_representation", "actions"}), _actions_look_alike),
    _Rule(frozenset({"action_representation"}), _ids_are_repeated),
    _Rule(frozenset({"action_representation", "max_actions"}), _ids_are_too_many),
    _Rule(frozenset({"safety", "action_representation", "actions"}), _bound_is_outside),
)


def _listed(names: list[str] | frozenset[Any]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


def _kinds(configs: list[Any]) -> str:
    return " or ".join(config.model_fields["kind"].default for config in configs)
