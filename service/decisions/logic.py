"""How one decision is made: request in, answer out. No clock, no Redis, no HTTP.

    request -> state, actions -> Agent.act -> answer
                                   └─ cannot answer -> the policy's fallback, with its reason

The same functions recompute a recorded decision (`service.decisions.replay`) and featurize it for the
learner (`service.joining.logic`), so what is served, replayed and learned cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent_core.agent import seed_of
from agent_core.errors import EmptyActionSetError, FeatureError, NonFiniteScoresError
from agent_core.functional.choice import sample, uniform_from
from agent_core.types import ActionSet, Decision, Doubles, Floats, Mask
from service.clock import rfc3339
from service.decisions.schemas import (
    ActionItem,
    Actions,
    ActionTable,
    ActRequest,
    ActResponse,
    Assignment,
    ChosenAction,
    Observation,
    Ranked,
    Reason,
    ReasonsDetail,
)
from service.errors import Invalid, ServiceError
from service.policies.catalog import encode_action
from service.policies.served import Served

LIVE_ARM = "live"


@dataclass(frozen=True, slots=True, eq=False)
class Available:
    """The available actions of one request, encoded and with their scorer's half."""

    actions: ActionSet
    prepared: Floats


# -- input --------------------------------------------------------------------------------------


def encode_observation(served: Served, observation: Observation, pointer: str = "/observation") -> Floats:
    """`[S]`: the state that the policy sees."""
    featurizer = served.agent.observation_featurizer
    vector, features = observation.vector, observation.features
    try:
        if vector is not None and features is None:
            return featurizer.encode_vector(vector)
        if features is not None and vector is None:
            return featurizer.encode_named(features)
    except FeatureError as error:
        field = "vector" if vector is not None else "features"
        raise Invalid(f"{pointer}/{field}{error.pointer}", error.detail, field_code=error.code) from None
    raise Invalid(pointer, "send exactly one of `vector` and `features`", field_code="one_form")


def resolve_actions(served: Served, actions: Actions, pointer: str = "/actions") -> Available:
    """The encoded action set, in the caller's order.

    Raises:
        Invalid: an id is unknown or twice, a feature is wrong, or there are too many.
    """
    if isinstance(actions, ActionTable):
        return _from_table(served, actions, pointer)
    if len(actions) > served.config.agent.max_actions:
        raise _too_many(served, len(actions), pointer)
    if actions and all(type(item) is str for item in actions):
        return _from_ids(served, actions, pointer)  # type: ignore[arg-type]  # all are str
    return _from_items(served, actions, pointer)


def _from_ids(served: Served, ids: Sequence[str], pointer: str) -> Available:
    if len(set(ids)) != len(ids):
        raise _duplicate(ids, pointer)
    try:
        return Available(*served.catalog.take(ids))
    except KeyError as missing:
        if served.agent.action_featurizer.dim == 0:
            return _encoded(served, tuple(ids), np.zeros((len(ids), 0), np.float32))
        at = list(ids).index(missing.args[0])
        detail = "the id is not in the policy's catalog; add it, or send the action with its features"
        raise Invalid(f"{pointer}/{at}", detail, "UnknownAction", "unknown_action") from None


def _from_items(served: Served, items: Sequence[str | ActionItem], pointer: str) -> Available:
    ids = tuple(item if isinstance(item, str) else item.id for item in items)
    if len(set(ids)) != len(ids):
        raise _duplicate(ids, pointer)
    features = np.empty((len(ids), served.agent.action_featurizer.dim), np.float32)
    for at, item in enumerate(items):
        if isinstance(item, str) and features.shape[1]:
            detail = "mixing catalog ids with actions that carry features is not supported; send one form"
            raise Invalid(f"{pointer}/{at}", detail, field_code="mixed_forms")
        if isinstance(item, ActionItem):
            try:
                features[at] = encode_action(served.agent, item.vector, item.features)
            except FeatureError as error:
                where = f"{pointer}/{at}{error.pointer}"
                raise Invalid(where, error.detail, field_code=error.code) from None
    return _encoded(served, ids, features)


def _from_table(served: Served, table: ActionTable, pointer: str) -> Available:
    ids = tuple(table.ids)
    if len(ids) > served.config.agent.max_actions:
        raise _too_many(served, len(ids), pointer)
    if len(set(ids)) != len(ids):
        raise _duplicate(ids, f"{pointer}/ids")
    try:
        features = served.agent.action_featurizer.encode_matrix(table.vectors, len(ids))
    except FeatureError as error:
        where = f"{pointer}/vectors{error.pointer}"
        raise Invalid(where, error.detail, field_code=error.code) from None
    return _encoded(served, ids, features)


def _encoded(served: Served, ids: tuple[str, ...], features: Floats) -> Available:
    actions = ActionSet(ids, served.agent.representation.encode(ids, features))
    return Available(actions, served.agent.prepare(actions))


def _too_many(served: Served, count: int, pointer: str) -> Invalid:
    limit = served.config.agent.max_actions
    detail = f"{count} actions given, at most {limit} allowed; send fewer or raise `agent.max_actions`"
    return Invalid(pointer, detail, "TooManyActions", "too_many")


def _duplicate(ids: Sequence[str], pointer: str) -> Invalid:
    seen: set[str] = set()
    at = next(i for i, value in enumerate(ids) if value in seen or seen.add(value))  # type: ignore[func-returns-value]
    detail = "the id appears earlier in the list; every action needs its own"
    return Invalid(f"{pointer}/{at}", detail, "DuplicateAction", "duplicate")


def excluded_mask(ids: tuple[str, ...], excluded: Sequence[str]) -> Mask | None:
    """`[A]` bool of the excluded actions, or None when nothing is excluded.

    Raises:
        Invalid: an excluded id is not among the actions.
    """
    if not excluded:
        return None
    for at, action_id in enumerate(excluded):
        if action_id not in ids:
            detail = "the id is not among `actions`"
            raise Invalid(f"/excluded_actions/{at}", detail, "UnknownAction", "unknown_action")
    banned = set(excluded)
    return np.fromiter((i in banned for i in ids), bool, len(ids))


# -- choice -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What is answered and why. `value` is None when no agent scored the actions."""

    index: int
    propensity: float
    probabilities: Doubles
    value: Doubles | None
    reason: Reason
    explored: bool = False
    fallback: str | None = None


def choose(served: Served, request: ActRequest, decision_id: str, state: Floats, available: Available) -> Choice:
    """The action for one request, by the agent or, where none can answer, by the fallback."""
    excluded = excluded_mask(available.actions.ids, request.excluded_actions)
    seed = seed_of(decision_id, served.config.policy)
    if request.mode == "logging_only":
        return _baseline(request, available, excluded, "baseline")
    try:
        decision = served.agent.act(
            state, available.actions, available.prepared, seed=seed, excluded=excluded, explore=request.explore
        )
    except NonFiniteScoresError:
        return fall_back(served, request, available, excluded, seed, "scores_not_finite")
    except EmptyActionSetError:
        if served.config.empty_action_set == "baseline" and request.baseline_action in available.actions.ids:
            return _baseline(request, available, None, "fallback", "empty_action_set")
        raise _nothing_left(available, excluded) from None
    if request.mode != "online":
        return _baseline(request, available, excluded, "baseline", value=decision.value)
    return _by_agent(decision)


def _by_agent(decision: Decision) -> Choice:
    explored = not decision.is_greedy
    return Choice(
        decision.index,
        decision.propensity,
        decision.probabilities,
        decision.value,
        "explore" if explored else "policy",
        explored,
    )


def fall_back(
    served: Served, request: ActRequest, available: Available, excluded: Mask | None, seed: int, why: str
) -> Choice:
    """The policy's declared fallback, with the exact propensity that it has."""
    if served.config.fallback != "uniform":
        wanted = request if served.config.fallback == "baseline" else None
        return _baseline(wanted, available, excluded, "fallback", why)
    allowed = np.ones(len(available.actions)) if excluded is None else (~excluded).astype(np.float64)
    probabilities = allowed / allowed.sum()
    index = sample(probabilities, uniform_from(seed))
    return Choice(index, float(probabilities[index]), probabilities, None, "fallback", True, why)


def _baseline(
    request: ActRequest | None,
    available: Available,
    excluded: Mask | None,
    reason: Reason,
    why: str | None = None,
    value: Doubles | None = None,
) -> Choice:
    ids = available.actions.ids
    index = next((i for i in range(len(ids)) if excluded is None or not excluded[i]), 0)
    if request is not None and request.baseline_action is not None:
        if request.baseline_action not in ids:
            detail = "the id is not among `actions`"
            raise Invalid("/baseline_action", detail, "UnknownAction", "unknown_action")
        index = ids.index(request.baseline_action)
    probabilities = np.zeros(len(ids))
    probabilities[index] = 1.0
    return Choice(index, 1.0, probabilities, value, reason, fallback=why)


def _nothing_left(available: Available, excluded: Mask | None) -> ServiceError:
    total, out = len(available.actions), 0 if excluded is None else int(excluded.sum())
    detail = f"{total} actions given, {out} excluded, the rest removed by safety; send an eligible action"
    pointer = "/excluded_actions" if out else "/actions"
    return Invalid(pointer, detail, "ActionSetEmpty", "empty")


# -- answer -------------------------------------------------------------------------------------


def answer(
    served: Served, request: ActRequest, decision_id: str, available: Available, choice: Choice, deadline_ms: int
) -> ActResponse:
    """The response that is sent and recorded."""
    ids = available.actions.ids
    return ActResponse(
        decision_id=decision_id,
        policy=served.config.policy,
        model_version=served.label,
        config_hash=served.config_hash,
        feature_schema=served.feature_schema,
        action=ChosenAction(ids[choice.index], choice.index),
        propensity=choice.propensity,
        ranking=_ranking(ids, choice),
        reason=choice.reason,
        reasons_detail=ReasonsDetail(choice.explored, choice.fallback),
        assignment=Assignment(LIVE_ARM, 1.0, choice.propensity),
        mode=request.mode,
        activated=not request.defer_activation,
        reward_deadline=rfc3339(deadline_ms),
    )


def _ranking(ids: tuple[str, ...], choice: Choice) -> list[Ranked]:
    """Every available action in the caller's order: position is identity, and no sort is paid for."""
    probabilities = choice.probabilities.tolist()
    if choice.value is None:
        return [Ranked(i, p, None) for i, p in zip(ids, probabilities, strict=True)]
    return list(map(Ranked, ids, probabilities, choice.value.tolist()))

