"""Which parts of an agent work together: one rule for each way in which they may not.

What follows from `capabilities`, `needs` and `serves` alone, the first rules find; the others know more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from agent_core.action_representation.binary import BinaryConfig
from agent_core.action_representation.embedding import EmbeddingConfig
from agent_core.action_representation.identity import IdentityConfig
from agent_core.action_representation.one_hot import OneHotConfig
from agent_core.errors import ConfigProblem
from agent_core.exploration.gaussian import GaussianConfig
from agent_core.exploration.none import NoExplorationConfig
from agent_core.features.plain import BoxConfig
from agent_core.functional.boxes import float32_step
from agent_core.functional.densities import is_beyond_densities, least_sigma, log_volume
from agent_core.history.none import NoHistoryConfig
from agent_core.interfaces import SafetyConfig
from agent_core.registry import (
    AnyExploration,
    AnyHistory,
    AnyLearner,
    AnyReplay,
    AnyRepresentation,
    AnySafety,
    members,
)
from agent_core.replay.hindsight import HindsightConfig
from agent_core.replay.n_step import NStepConfig
from agent_core.replay.prioritized import PrioritizedConfig
from agent_core.safety.action_filter import ActionFilterConfig
from agent_core.safety.reward_constrained import RewardConstrainedConfig
from agent_core.safety.stack import StackConfig

Parts: TypeAlias = Any
"""An `AgentConfig`, or as much of one as is well formed; its class imports this file."""


class _Rule(NamedTuple):
    """Yields the conflicts among `fields` of a config; looks at no other field."""

    fields: frozenset[str]
    conflicts: Callable[[Parts], Iterator[ConfigProblem]]


def conflicts_of(config: Parts, well_formed: frozenset[str]) -> Iterator[ConfigProblem]:
    """All conflicts among the fields that are `well_formed`; the others are not looked at."""
    for rule in _RULES:
        if rule.fields <= well_formed:
            yield from rule.conflicts(config)


def _learner_lacks(slot: str, options: Any) -> _Rule:
    """The rule for what the module in `slot` needs of the learner."""

    def conflicts(config: Parts) -> Iterator[ConfigProblem]:
        module, learner, kind = getattr(config, slot), config.policy_learner, _action_kind(config)
        if module is None or not (lacking := module.needs - learner.capabilities):
            return
        fitting = [
            c
            for c in members(options)
            if c.needs <= learner.capabilities and kind in getattr(c, "serves", {kind})
        ]
        learners = [c for c in members(AnyLearner) if {*module.needs, kind} <= c.capabilities]
        fixes = ((slot, fitting), ("policy_learner", learners))
        yield ConfigProblem(
            slot,
            f"'{module.kind}' needs {_listed(lacking)}, which '{learner.kind}' lacks",
            "use " + ", or ".join(f"{what} {_kinds(which)}" for what, which in fixes if which),
        )

    return _Rule(frozenset({slot, "policy_learner", "actions"}), conflicts)


def _learner_misses_actions(config: Parts) -> Iterator[ConfigProblem]:
    wanted, learner = _action_kind(config), config.policy_learner
    if wanted not in learner.capabilities:
        fitting = [c for c in members(AnyLearner) if wanted in c.capabilities]
        what = "makes no continuous actions" if wanted == "box" else "does not choose from sets"
        fix = f"use policy_learner {_kinds(fitting)}, or other actions"
        yield ConfigProblem("policy_learner", f"'{learner.kind}' {what}", fix)


def _exploration_misses_actions(config: Parts) -> Iterator[ConfigProblem]:
    wanted = _action_kind(config)
    if wanted not in config.exploration.serves:
        fitting = [c for c in members(AnyExploration) if wanted in c.serves]
        what = "continuous actions" if wanted == "box" else "action sets"
        problem = f"'{config.exploration.kind}' explores no {what}"
        yield ConfigProblem("exploration", problem, f"use {_kinds(fitting)}")


def _nothing_is_tried(config: Parts) -> Iterator[ConfigProblem]:
    learner, exploration = config.policy_learner, config.exploration
    played = getattr(exploration, "then", exploration)  # what a warm-up ends in
    if "on_policy" in learner.capabilities and isinstance(played, NoExplorationConfig):
        wanted = _action_kind(config)
        fitting = [
            c
            for c in members(AnyExploration)
            if c is not NoExplorationConfig
            and wanted in c.serves
            and c.needs <= learner.capabilities
        ]
        problem = f"'{learner.kind}' learns only from what it plays, and would try nothing"
        yield ConfigProblem("exploration", problem, f"use {_kinds(fitting)}")


def _sets_are_assumed(config: Parts) -> Iterator[ConfigProblem]:
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


def _densities_are_beyond_numbers(config: Parts) -> Iterator[ConfigProblem]:
    if (box := config.box) is None or not is_beyond_densities(-log_volume(box)):
        return
    volume = f"10^{log_volume(box) / math.log(10):.0f}"
    problem = (
        f"the volume is {volume}; a density, such as 1 / volume, lies between 1e-300 and 1e300"
    )
    yield ConfigProblem("actions", problem, "use other units, in which sides are nearer to 1")


def _noise_is_too_narrow(config: Parts) -> Iterator[ConfigProblem]:
    exploration, box = config.exploration, config.box
    at, played = "exploration", getattr(exploration, "then", exploration)
    if box is None or not isinstance(played, GaussianConfig):
        return
    at = at if played is exploration else "exploration.then"
    limits = (
        (least_sigma(box), "has densities above 1e300", "units in which sides are longer"),
        (float32_step(box), "is finer than the steps of float32", "a box that is nearer to 0"),
    )
    for name in ("sigma", "final_sigma"):
        sigma = getattr(played, name)
        for least, problem, other in limits:
            if sigma is not None and sigma < least:
                fix = f"use at least {least:.2g}, or {other}"
                yield ConfigProblem(f"{at}.{name}", f"noise of {sigma:g} {problem} here", fix)


def _replay_is_misplaced(config: Parts) -> Iterator[ConfigProblem]:
    learner = config.policy_learner
    reads = learner.capabilities & {"replay", "on_policy"}
    if reads and config.replay is None:
        fitting = [c for c in members(AnyReplay) if c.needs <= learner.capabilities]
        problem = f"is missing, and '{learner.kind}' learns from it"
        yield ConfigProblem("replay", problem, f"add it: {_kinds(fitting)}")
    if config.replay is not None and not reads:
        yield ConfigProblem("replay", f"is never read by '{learner.kind}'", "remove it")


def _replay_asks_too_much(config: Parts) -> Iterator[ConfigProblem]:
    # A replay that is not read at all has its own problem, in `_replay_is_misplaced`.
    if config.policy_learner.capabilities & {"replay", "on_policy"}:
        yield from _learner_lacks("replay", AnyReplay).conflicts(config)


def _discounts_differ(config: Parts) -> Iterator[ConfigProblem]:
    wanted = getattr(config.policy_learner, "discount", None)
    parts = getattr(config.safety, "parts", (config.safety,))
    for slot, module in (("replay", config.replay), *(("safety", part) for part in parts)):
        if wanted is None or not _discounts(module):
            continue
        if module.discount != wanted:
            problem = f"{module.discount:g}, but the learner's is {wanted:g}"
            yield ConfigProblem(f"{slot}.discount", problem, f"use {wanted:g}")


def _discounts(module: Any) -> bool:
    if isinstance(module, PrioritizedConfig):
        return module.steps > 1
    return isinstance(module, NStepConfig | RewardConstrainedConfig)


def _windows_are_ignored(config: Parts) -> Iterator[ConfigProblem]:
    learner, replay = config.policy_learner, config.replay
    if not isinstance(replay, PrioritizedConfig) or replay.steps == 1:
        return
    if "sequential" not in learner.capabilities:
        problem = f"'{learner.kind}' ignores what follows a decision"
        yield ConfigProblem("replay.steps", problem, "leave it out, or use 1")


def _hindsight_misses_the_goal(config: Parts) -> Iterator[ConfigProblem]:
    replay, dim = config.replay, config.observation.dim
    if not isinstance(replay, HindsightConfig):
        return
    if not isinstance(config.history, NoHistoryConfig):
        problem = "'hindsight' changes goals in one observation, and a state is a window of several"
        yield ConfigProblem("replay", problem, "use history none, or another replay")
    elif replay.least_state_dim > dim:
        problem = f"the goal ends at {replay.least_state_dim}, a state has {dim} numbers"
        yield ConfigProblem("replay", problem, "lower goal_at, achieved_at or goal_size")


def _action_kind(config: Parts) -> Literal["box", "sets"]:
    return "box" if _is_box(config) else "sets"


def _is_box(config: Parts) -> bool:
    return isinstance(config.actions, BoxConfig)


def _replay_is_too_small(config: Parts) -> Iterator[ConfigProblem]:
    if config.replay is None:
        return
    for name in ("batch_size", "warmup_transitions"):
        size, capacity = getattr(config.schedule, name), config.replay.room
        if size > capacity:
            problem = f"{size} is more than the {capacity} transitions that the replay holds"
            yield ConfigProblem(f"schedule.{name}", problem, "lower it, or raise replay.capacity")


def _floor_is_too_high(config: Parts) -> Iterator[ConfigProblem]:
    if config.min_propensity * config.max_actions > 1:
        problem = f"{config.max_actions} actions of that probability each are more than 1 in total"
        fix = f"use at most {1 / config.max_actions:g}, or lower max_actions"
        yield ConfigProblem("min_propensity", problem, fix)


def _actions_look_alike(config: Parts) -> Iterator[ConfigProblem]:
    if isinstance(config.action_representation, IdentityConfig) and not config.actions.dim:
        problem = "'identity' has nothing to tell actions apart by: they have no features"
        fix = "declare features under actions, or use one_hot or binary with their ids"
        yield ConfigProblem("action_representation", problem, fix)


def _ids_are_repeated(config: Parts) -> Iterator[ConfigProblem]:
    if isinstance(config.action_representation, (OneHotConfig, BinaryConfig, EmbeddingConfig)):
        counts = Counter(config.action_representation.ids)
        if repeated := [action_id for action_id, count in counts.items() if count > 1]:
            problem = f"lists {_listed(repeated)} more than once"
            yield ConfigProblem("action_representation.ids", problem, "list each id once")


def _ids_are_too_many(config: Parts) -> Iterator[ConfigProblem]:
    representation = config.action_representation
    if isinstance(representation, OneHotConfig) and len(representation.ids) > config.max_actions:
        problem = f"{len(representation.ids)} ids, but max_actions is {config.max_actions}"
        yield ConfigProblem("action_representation.ids", problem, "raise max_actions")


def _history_is_unreadable(config: Parts) -> Iterator[ConfigProblem]:
    """A learned summary reads numbers: not the positions of embedded ids, and not nothing."""
    with_actions = getattr(config.history, "include_actions", False)
    if with_actions and config.action_representation.embedding() is not None:
        problem = "the ids of past actions would be read as plain numbers"
        fix = "set it to false, or use one_hot or binary"
        yield ConfigProblem("history.include_actions", problem, fix)
    if "gradient" in config.history.needs and not with_actions and not config.observation.dim:
        problem = f"'{config.history.kind}' has nothing to read: no observation and no actions"
        yield ConfigProblem("history", problem, "set include_actions to true, or use none")


def _arms_look_alike(config: Parts) -> Iterator[ConfigProblem]:
    learner, representation = config.policy_learner, config.action_representation
    if "arms" in learner.capabilities and "arms" not in representation.needs:
        fitting = [c for c in members(AnyRepresentation) if "arms" in c.needs]
        problem = (
            f"'{representation.kind}' hides the ids, and '{learner.kind}' has a model for each"
        )
        yield ConfigProblem("action_representation", problem, f"use {_kinds(fitting)}")


def _number_is_outside(config: Parts) -> Iterator[ConfigProblem]:
    dims = {"action": config.representation().dim, "state": config.history_module().state_dim}
    names = {"action": "represented actions have", "state": "states have"}
    for at, safety in _action_filters(config.safety):
        for path, side, feature in safety.readings():
            if feature >= dims[side]:
                problem = f"{names[side]} {dims[side]} features, counted from 0"
                fix = f"use at most {dims[side] - 1}" if dims[side] else "remove the rule"
                yield ConfigProblem(f"{at}.{path}", problem, fix)


def _action_filters(safety: SafetyConfig) -> Iterator[tuple[str, ActionFilterConfig]]:
    """Each filter with its place."""
    parts = enumerate(safety.parts) if isinstance(safety, StackConfig) else ()
    placed = [(f"safety.parts.{at}", part) for at, part in parts] or [("safety", safety)]
    for at, part in placed:
        if isinstance(part, ActionFilterConfig):
            yield at, part


_RULES = (
    _learner_lacks("exploration", AnyExploration),
    _learner_lacks("history", AnyHistory),
    _learner_lacks("safety", AnySafety),
    _learner_lacks("action_representation", AnyRepresentation),
    _Rule(frozenset({"history", "action_representation", "observation"}), _history_is_unreadable),
    _Rule(frozenset({"actions", "policy_learner"}), _learner_misses_actions),
    _Rule(frozenset({"actions", "exploration"}), _exploration_misses_actions),
    _Rule(frozenset({"actions", "exploration", "policy_learner"}), _nothing_is_tried),
    _Rule(
        frozenset({"actions", "action_representation", "min_propensity", "safety"}),
        _sets_are_assumed,
    ),
    _Rule(frozenset({"actions"}), _densities_are_beyond_numbers),
    _Rule(frozenset({"actions", "exploration"}), _noise_is_too_narrow),
    _Rule(frozenset({"replay", "policy_learner"}), _replay_is_misplaced),
    _Rule(frozenset({"replay", "policy_learner", "actions"}), _replay_asks_too_much),
    _Rule(frozenset({"replay", "safety", "policy_learner"}), _discounts_differ),
    _Rule(frozenset({"replay", "policy_learner"}), _windows_are_ignored),
    _Rule(frozenset({"replay", "history", "observation"}), _hindsight_misses_the_goal),
    _Rule(frozenset({"replay", "schedule"}), _replay_is_too_small),
    _Rule(frozenset({"min_propensity", "max_actions"}), _floor_is_too_high),
    _Rule(frozenset({"action_representation", "actions"}), _actions_look_alike),
    _Rule(frozenset({"action_representation"}), _ids_are_repeated),
    _Rule(frozenset({"action_representation", "max_actions"}), _ids_are_too_many),
    _Rule(frozenset({"action_representation", "policy_learner"}), _arms_look_alike),
    _Rule(
        frozenset({"safety", "action_representation", "actions", "observation", "history"}),
        _number_is_outside,
    ),
)


def _listed(names: list[str] | frozenset[Any]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


def _kinds(configs: list[Any]) -> str:
    return " or ".join(config.model_fields["kind"].default for config in configs)
