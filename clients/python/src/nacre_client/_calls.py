"""One function for each thing the service can do: values in, a `Call` out, no I/O.

A `Call` is a whole request and the way to read its answer. Its body is encoded and its idempotency key
drawn when it is made, that is once per logical call; every attempt sends the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._errors import InputError, ProblemItem
from ._models import (
    Approval,
    CatalogInfo,
    Decision,
    DecisionLife,
    Health,
    Held,
    JobState,
    LiveVersion,
    PolicyChange,
    PolicyInfo,
    RewardResult,
    RolloutInfo,
    ShadowResult,
    VersionInfo,
)
from ._requests import (
    ActDefaults,
    Actions,
    ActRequest,
    EndOfEpisode,
    Observation,
    Promotion,
    RewardRequest,
    RolloutStart,
    SupportsToList,
    TransitionFields,
)
from ._wire import (
    action_or_vector,
    actions_body,
    encode,
    new_id,
    observation_body,
    path,
    time_text,
    without_nones,
)

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
JsonObject = dict[str, Any]

# The service gets less than the caller's whole deadline, or its own fallback, which is logged with a
# propensity, would always arrive just after this client has given up and made an unlogged one.
SERVICE_SHARE_OF_DEADLINE = 0.8
# The status of an answer that there is not yet.
HELD = 202


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One logical call.

    `path`: percent-encoded, with its query. `timeout_s`: bound of all attempts together, None for the
    client's. `also_read`: statuses beside 2xx that are answers, not errors.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    content: bytes | None = None
    idempotency_key: str | None = None
    timeout_s: float | None = None
    also_read: tuple[int, ...] = ()


def _get(path_: str, read: Callable[[httpx.Response], T]) -> Call[T]:
    return Call("GET", path_, read)


def _put(path_: str, body: Mapping[str, Any], read: Callable[[httpx.Response], T]) -> Call[T]:
    return Call("PUT", path_, read, encode(body))


def _post(path_: str, body: JsonObject | None, read: Callable[[httpx.Response], T]) -> Call[T]:
    return Call("POST", path_, read, None if body is None else encode(body), new_id())


def _json(response: httpx.Response) -> Any:
    return response.json()


def _nothing(response: httpx.Response) -> None:
    return None


# Decisions


def act_body(
    observation: Observation | None = None,
    actions: Actions | None = None,
    *,
    deadline_ms: float | None = None,
    policy: str | None = None,
    decision_id: str | None = None,
    subject: str | None = None,
    excluded_actions: Sequence[str] | None = None,
    baseline_action: str | Sequence[float] | SupportsToList | None = None,
    action_space: Mapping[str, Any] | None = None,
    episode: Mapping[str, Any] | None = None,
    defer_activation: bool | None = None,
    mode: str | None = None,
    explore: bool | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> JsonObject:
    """The body of one act request, or of a batch's defaults. Unknown names are a TypeError."""
    return without_nones(
        policy=policy,
        decision_id=decision_id,
        subject=subject,
        observation=None if observation is None else observation_body(observation),
        actions=None if actions is None else actions_body(actions),
        excluded_actions=None if excluded_actions is None else list(excluded_actions),
        baseline_action=None
        if baseline_action is None
        else action_or_vector(baseline_action, "baseline_action"),
        action_space=action_space,
        episode=episode,
        defer_activation=defer_activation,
        mode=mode,
        explore=explore,
        deadline_ms=_service_deadline_ms(deadline_ms),
        metadata=metadata,
    )


def _service_deadline_ms(deadline_ms: float | None) -> float | None:
    if deadline_ms is None:
        return None
    if not deadline_ms > 0:
        raise InputError(f"deadline_ms is {deadline_ms}; expected more than 0 milliseconds")
    return deadline_ms * SERVICE_SHARE_OF_DEADLINE


def act(body: JsonObject, deadline_ms: float | None) -> Call[Decision | Held]:
    """One decision. `body`: from `act_body`, with its `decision_id`."""
    return Call(
        "POST",
        "/v1/act",
        _read_decision,
        encode(body),
        body["decision_id"],
        None if deadline_ms is None else deadline_ms / 1000,
    )


def _read_decision(response: httpx.Response) -> Decision | Held:
    if response.status_code == HELD:
        return Held.from_wire(response.json())
    replayed = response.headers.get("idempotency-replayed") == "true"
    return Decision.from_wire(response.json(), is_replayed=replayed)


def batch_bodies(
    requests: Sequence[ActRequest], defaults: ActDefaults | None, policy: str | None
) -> tuple[list[JsonObject], JsonObject]:
    """The items and the defaults of a batch. Every item gets its own decision id, so a repeat is safe."""
    shared = act_body(**(defaults or {}))
    items = [act_body(**request) for request in requests]
    for item in items:
        item.setdefault("decision_id", new_id())
        # Into every item, not into the defaults: a batch without defaults needs no merging over there.
        if policy is not None and "policy" not in shared:
            item.setdefault("policy", policy)
    return items, shared


def act_batch(
    items: list[JsonObject], shared: JsonObject, deadline_ms: float | None
) -> Call[list[Decision | ProblemItem | Held]]:
    """Many decisions in one request; the answers keep the order of `items`."""

    def read(response: httpx.Response) -> list[Decision | ProblemItem | Held]:
        answers = response.json()["responses"]
        if len(answers) != len(items):
            raise ValueError(f"{len(answers)} answers to {len(items)} requests")
        return [_batch_item(answer) for answer in answers]

    body = without_nones(requests=items, defaults=shared or None)
    timeout_s = None if deadline_ms is None else deadline_ms / 1000
    return Call("POST", "/v1/act:batch", read, encode(body), new_id(), timeout_s)


def _batch_item(answer: JsonObject) -> Decision | ProblemItem | Held:
    if answer.get("status") == HELD:
        return Held.from_wire(answer)
    if "problem" in answer:
        return ProblemItem.from_wire(answer["problem"], answer["status"])
    return Decision.from_wire(answer)


def shadow(
    observation: Observation,
    actions: Actions,
    action_id: str,
    *,
    behavior_policy: str,
    propensity: float | None,
    decision_id: str | None,
    policy: str | None,
) -> Call[ShadowResult]:
    """The policy's view of somebody else's choice."""
    body = without_nones(
        policy=policy,
        decision_id=decision_id or new_id(),
        observation=observation_body(observation),
        actions=actions_body(actions),
        action_id=action_id,
        propensity=propensity,
        behavior_policy=behavior_policy,
    )
    return _post("/v1/shadow", body, lambda response: ShadowResult.from_wire(response.json()))


def decision(decision_id: str, policy: str | None) -> Call[DecisionLife]:
    """The whole life of one decision."""
    where = path("v1", "decisions", decision_id, policy=policy)
    return _get(where, lambda response: DecisionLife.from_wire(response.json()))


def activate(decision_id: str, policy: str | None) -> Call[None]:
    """Tells that a deferred decision was shown."""
    where = path("v1", "decisions", decision_id, "activate", policy=policy)
    return _post(where, None, _nothing)


# Approvals


def approvals(policy: str | None, state: str) -> Call[list[Approval]]:
    """What waits for a person, or what became of it."""

    def read(response: httpx.Response) -> list[Approval]:
        return [Approval.from_wire(one) for one in response.json()["approvals"]]

    asked = without_nones(policy=policy, state=state)
    return _get(path("v1", "approvals", **asked), read)


def approval(name: str, approval_id: str, wait_s: float, timeout_s: float) -> Call[Approval]:
    """One approval; the service keeps the answer back for `wait_s` at most. `timeout_s`: without that wait."""
    where = path("v1", "approvals", name, approval_id, wait_s=f"{wait_s:g}" if wait_s else None)
    return Call("GET", where, _read_approval, timeout_s=timeout_s + wait_s)


def answer_approval(name: str, approval_id: str, word: str, why: str) -> Call[Approval]:
    """`word`: approve or reject."""
    return _post(path("v1", "approvals", name, approval_id, word), {"why": why}, _read_approval)


def _read_approval(response: httpx.Response) -> Approval:
    return Approval.from_wire(response.json())


# Feedback


def observe(policy: str | None, reward: RewardRequest) -> Call[RewardResult]:
    """One reward for an earlier decision; what is wrong with it is an error."""
    return _post("/v1/observe", _reward_body(policy, reward), lambda reply: _results(reply)[0])


def observe_many(policy: str | None, rewards: Sequence[RewardRequest]) -> Call[list[RewardResult]]:
    """Many rewards; what is wrong with one stands in its result, and the others count."""
    body = {"rewards": [_reward_body(policy, reward) for reward in rewards]}
    return _post("/v1/observe", body, _results)


def _reward_body(default_policy: str | None, reward: RewardRequest) -> JsonObject:
    _check_names("reward", reward, RewardRequest)
    body = without_nones(**reward)
    if "decision_id" not in body:
        raise TypeError("a reward without decision_id; expected the id that act returned")
    body.setdefault("reward_id", new_id())
    return _with_policy_and_time(body, default_policy)


def observe_transition(policy: str | None, step: TransitionFields) -> Call[RewardResult]:
    """One whole step of an episode that was lived elsewhere."""
    body = {"transition": _transition_body(policy, step)}
    return _post("/v1/observe", body, lambda reply: _results(reply)[0])


def _transition_body(default_policy: str | None, step: TransitionFields) -> JsonObject:
    _check_names("transition", step, TransitionFields)
    body = without_nones(**step)
    for name in body.keys() & {"observation", "next_observation"}:
        body[name] = observation_body(body[name])
    for name in body.keys() & {"available_actions", "next_available_actions"}:
        body[name] = actions_body(body[name])
    if "action" in body:
        taken = action_or_vector(body["action"], "action")
        body["action"] = {"id" if isinstance(taken, str) else "value": taken}
    return _with_policy_and_time(body, default_policy)


def _with_policy_and_time(body: JsonObject, default_policy: str | None) -> JsonObject:
    if default_policy is not None:
        body.setdefault("policy", default_policy)
    if "event_time" in body:
        body["event_time"] = time_text(body["event_time"])
    return body


def _check_names(what: str, given: Mapping[str, Any], known: type) -> None:
    """Refuses a misspelt option as a Python call would; the typed dictionaries are only checked by mypy."""
    names = known.__annotations__.keys()
    unknown = given.keys() - names
    if unknown:
        raise TypeError(
            f"a {what} has no option {', '.join(sorted(unknown))}; expected {', '.join(sorted(names))}"
        )


def _results(response: httpx.Response) -> list[RewardResult]:
    return [RewardResult.from_wire(result) for result in response.json()["results"]]


def seal_episode(
    episode_id: str,
    status: EndOfEpisode,
    *,
    next_observation: Observation | None,
    next_available_actions: Actions | None,
    policy: str | None,
) -> Call[None]:
    """Ends an episode; a truncated one may say what would have come next."""
    body = without_nones(
        status=status,
        next_observation=None if next_observation is None else observation_body(next_observation),
        next_available_actions=(
            None if next_available_actions is None else actions_body(next_available_actions)
        ),
    )
    return _post(path("v1", "episodes", episode_id, "seal", policy=policy), body, _nothing)


# Learning


def learn(
    *,
    policy: str | None,
    new_transitions: int | None,
    max_steps: int | None,
    max_seconds: float | None,
    promote: Promotion,
    dry_run: bool,
) -> Call[JobState]:
    """Asks for one learning job now."""
    until = without_nones(
        new_transitions=new_transitions, max_steps=max_steps, max_seconds=max_seconds
    )
    body = without_nones(policy=policy, until=until, promote=promote, dry_run=dry_run or None)
    return _post("/v1/learn", body, _read_job)


def job(job_id: str) -> Call[JobState]:
    """How a learning job is doing."""
    return _get(path("v1", "learn", "jobs", job_id), _read_job)


def _read_job(response: httpx.Response) -> JobState:
    return JobState.from_wire(response.json())


# Policies


def policies() -> Call[list[str]]:
    return _get("/v1/policies", lambda response: list(response.json()["policies"]))


def policy(name: str) -> Call[PolicyInfo]:
    return _get(_policy_path(name), lambda response: PolicyInfo.from_wire(response.json()))


def put_policy(name: str, config: Mapping[str, Any], restart: bool) -> Call[PolicyChange]:
    """`restart`: whether a change that no model survives may start one from nothing."""
    where = path("v1", "policies", name, restart="true" if restart else None)
    return _put(where, config, lambda response: PolicyChange.from_wire(response.json()))


def put_actions(
    name: str, actions: Actions, remove: Sequence[str], revive: Sequence[str]
) -> Call[CatalogInfo]:
    """Adds or replaces `actions` in the catalog, and removes the ids in `remove`."""
    put = dict(map(_catalog_item, actions_body(actions)))
    body = without_nones(put=put, remove=list(remove) or None, revive=list(revive) or None)
    where = _policy_path(name, "actions")
    return _put(where, body, lambda response: CatalogInfo.from_wire(response.json()))


def _catalog_item(action: str | Mapping[str, Any]) -> tuple[str, JsonObject]:
    if isinstance(action, str):
        return action, {}
    if "id" not in action:
        raise InputError('an action has no id; expected {"id": ..., "vector": [...]} or an Action')
    return action["id"], {name: value for name, value in action.items() if name != "id"}


def versions(name: str) -> Call[list[VersionInfo]]:
    def read(response: httpx.Response) -> list[VersionInfo]:
        return [VersionInfo.from_wire(version) for version in response.json()["versions"]]

    return _get(_policy_path(name, "versions"), read)


def promote(name: str, version: str | int, *, why: str | None, pin: bool) -> Call[LiveVersion]:
    """`version`: a number, or as decisions write it, "digits@42"."""
    number = str(version).rpartition("@")[2]
    body = without_nones(why=why, pin=pin or None)
    return _post(_policy_path(name, "versions", number, "promote"), body, _read_live)


def rollback(name: str, *, why: str | None, quarantine: bool) -> Call[LiveVersion]:
    body = without_nones(why=why, quarantine=quarantine or None)
    return _post(_policy_path(name, "rollback"), body, _read_live)


def _read_live(response: httpx.Response) -> LiveVersion:
    return LiveVersion.from_wire(response.json())


def audit(name: str) -> Call[JsonObject]:
    return _get(_policy_path(name, "audit"), _json)


# Rollouts


def rollout(name: str) -> Call[RolloutInfo]:
    return _get(_policy_path(name, "rollout"), _read_rollout)


def start_rollout(name: str, version: str | int, why: str, at: RolloutStart) -> Call[RolloutInfo]:
    body = {"version": version, "why": why, "at": at}
    return _post(_policy_path(name, "rollout"), body, _read_rollout)


def advance_rollout(name: str, why: str) -> Call[RolloutInfo]:
    return _post(_policy_path(name, "rollout", "advance"), {"why": why}, _read_rollout)


def abort_rollout(name: str, why: str, quarantine: bool) -> Call[RolloutInfo]:
    body = without_nones(why=why, quarantine=quarantine or None)
    return _post(_policy_path(name, "rollout", "abort"), body, _read_rollout)


def _read_rollout(response: httpx.Response) -> RolloutInfo:
    return RolloutInfo.from_wire(response.json())


def shadows(name: str) -> Call[JsonObject]:
    return _get(_policy_path(name, "shadows"), _json)


def events(name: str, count: int) -> Call[list[JsonObject]]:
    where = path("v1", "policies", name, "events", count=str(count))
    return _get(where, lambda response: list(response.json()["events"]))


def _policy_path(name: str, *below: str) -> str:
    return path("v1", "policies", name, *below)


# The service itself


def limits() -> Call[JsonObject]:
    return _get("/v1/limits", _json)


def health(where: str) -> Call[Health]:
    """`where`: "/healthz" or "/readyz". A 503 is an answer here, and waiting for another is the caller's."""
    return Call("GET", where, _read_health, also_read=(503,))


def _read_health(response: httpx.Response) -> Health:
    try:
        detail = response.json()
    except ValueError:  # plain text is an answer too
        detail = None
    return Health(response.is_success, detail if isinstance(detail, dict) else {})
