"""/observe: rewards and logged transitions, HTTP in, HTTP out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agent_core.types import ActionSet, Floats, Transition
from service import bodies, metrics
from service.clock import now_ms
from service.decisions.records import (
    DecisionRecord,
    act_request,
    decode_box_response,
    decode_record,
    decode_response,
)
from service.decisions.repository import DecisionRepository
from service.errors import FieldError, InvalidError, ServiceError
from service.feedback import logic
from service.feedback.repository import FeedbackRepository
from service.feedback.schemas import (
    LoggedTransition,
    ObserveRequest,
    ObserveResponse,
    Reward,
    RewardResult,
)
from service.hot import SPOOLED, UNKNOWN_OWNER, Answer, HotRequest, confirmed
from service.policies.encoding import Encoding, set_of_one
from service.policies.served import Served, ServedBox
from service.policies.store import PolicyStore
from service.redis_link import UNCONFIRMED, BackpressureError
from service.replay.codec import CERTAIN_DENSITY, encode_transition
from service.security import Principal

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = {
    "json": msgspec.json.Decoder(ObserveRequest).decode,
    "msgpack": msgspec.msgpack.Decoder(ObserveRequest).decode,
}


@dataclass(frozen=True, slots=True)
class _Written:
    """A reward that was queued."""

    served: Served
    reward_id: str
    reply: asyncio.Future[Any]


class ObserveEndpoint:
    """POST /v1/observe."""

    def __init__(
        self,
        store: PolicyStore,
        feedback: FeedbackRepository,
        decisions: DecisionRepository,
        *,
        depth: int,
        batch: int,
    ) -> None:
        self._store = store
        self._feedback = feedback
        self._decisions = decisions
        self._depth = depth
        self._batch = batch

    async def observe(self, http: HotRequest) -> Answer:
        if http.media == "json":
            bodies.check_depth(http.body, self._depth)
        request = bodies.decode(_DECODE[http.media], http.body)
        try:
            if request.transition is not None or request.transitions is not None:
                return await self._transitions(request, http.principal)
            return await self._rewards(request, http)
        except BackpressureError as error:
            raise ServiceError(
                "Overloaded", "the log cannot keep up; slow down and retry"
            ) from error

    # -- rewards ------------------------------------------------------------------------------

    async def _rewards(self, request: ObserveRequest, http: HotRequest) -> Answer:
        rewards = logic.rewards_of(request, http.idempotency_key)
        if request.rewards is None:
            with _counting_refusals():
                return _answer([await self._result(await self._write(rewards[0], http.principal))])
        self._check_count(len(rewards), "/rewards")
        items = [await self._write_item(at, one, http.principal) for at, one in enumerate(rewards)]
        return _answer([await self._item_result(item) for item in items])

    async def _write(self, reward: Reward, principal: Principal) -> _Written:
        served = await self._owner(reward, principal)
        at_ms = now_ms()
        new = logic.new_reward(served.config.reward, reward, at_ms)
        reply = self._feedback.reward(served.keys, served.config.reward, new, at_ms)
        return _Written(served, new.reward_id, reply)

    async def _write_item(
        self, at: int, reward: Reward, principal: Principal
    ) -> _Written | ServiceError:
        try:
            return await self._write(reward, principal)
        except ServiceError as error:
            moved = [
                FieldError(f"/rewards/{at}{e.pointer}", e.code, e.detail) for e in error.errors
            ]
            return ServiceError(error.code, error.detail, moved)

    async def _result(self, written: _Written) -> RewardResult:
        reply = await confirmed(written.reply)
        result = logic.result_of(written.served.config, written.reward_id, reply)
        metrics.REWARDS.labels(result.state).inc()
        return result

    async def _item_result(self, item: _Written | ServiceError) -> RewardResult:
        try:
            with _counting_refusals():
                if isinstance(item, ServiceError):
                    raise item
                return await self._result(item)
        except ServiceError as error:
            reward_id = item.reward_id if isinstance(item, _Written) else ""
            return RewardResult(reward_id, "rejected", None, error.problem(instance="/v1/observe"))

    async def _owner(self, reward: Reward, principal: Principal) -> Served:
        """The policy of a reward: named, the only one, or the one that knows the decision."""
        names = self._store.names(principal)
        if reward.policy is not None or len(names) < 2:
            return self._store.served(reward.policy, principal)
        candidates = {name: self._store.served(name, principal) for name in names}
        found = await self._feedback.owners(
            reward.decision_id, [one.keys for one in candidates.values()]
        )
        if found is None:
            raise ServiceError("RedisUnavailable", UNKNOWN_OWNER)
        if len(found) == 1:
            return candidates[found[0].policy]
        detail = (
            "the service has several policies and cannot tell from the decision; name the policy"
        )
        raise InvalidError("/policy", detail, field_code="required")

    def _check_count(self, count: int, pointer: str) -> None:
        if count > self._batch:
            detail = f"{count} given, at most {self._batch} allowed; see /v1/limits"
            raise InvalidError(pointer, detail, field_code="too_many")

    # -- transitions --------------------------------------------------------------------------

    async def _transitions(self, request: ObserveRequest, principal: Principal) -> Answer:
        if request.transition is not None:
            with _counting_refusals():
                return _answer([await self._transition(request.transition, principal)])
        transitions = request.transitions or []
        self._check_count(len(transitions), "/transitions")
        return _answer([await self._transition_item(one, principal) for one in transitions])

    async def _transition_item(
        self, transition: LoggedTransition, principal: Principal
    ) -> RewardResult:
        try:
            with _counting_refusals():
                return await self._transition(transition, principal)
        except ServiceError as error:
            identity = transition.decision_id or f"{transition.episode_id}/{transition.step}"
            return RewardResult(identity, "rejected", None, error.problem(instance="/v1/observe"))

    async def _transition(self, transition: LoggedTransition, principal: Principal) -> RewardResult:
        served = self._store.served(transition.policy, principal)
        logic.check_range(served.config.reward, transition.reward, "/transition/reward")
        if transition.decision_id is not None:
            return await self._own_transition(served, transition, transition.decision_id)
        return await self._foreign_transition(served, transition)

    async def _own_transition(
        self, served: Served, transition: LoggedTransition, decision_id: str
    ) -> RewardResult:
        """A step that we decided: our log is the truth, the reward is final."""
        await self._check_agrees(served, transition, decision_id)
        reward = Reward(
            decision_id=decision_id,
            reward=transition.reward,
            cost=transition.cost,
            reward_id="transition",
            final=True,
            event_time=transition.event_time,
        )
        new = logic.new_reward(served.config.reward, reward, now_ms())
        reply = self._feedback.reward(served.keys, served.config.reward, new, now_ms())
        return await self._result(_Written(served, new.reward_id, reply))

    async def _check_agrees(
        self, served: Served, transition: LoggedTransition, decision_id: str
    ) -> None:
        stored = await self._decisions.find(served.keys, decision_id)
        if stored is None:
            raise ServiceError("NotFound", "there is no such decision")
        record = decode_record(stored.record)
        request = act_request(record)
        action, propensity = _answered(served, record)
        said: dict[str, tuple[Any, Any]] = {
            "action": (
                transition.action and (transition.action.id or transition.action.value),
                action,
            ),
            "propensity": (transition.propensity, propensity),
            "observation": (transition.observation, request.observation),
            "available_actions": (transition.available_actions, request.actions),
            "episode_id": (transition.episode_id, request.episode and request.episode.episode_id),
            "step": (transition.step, request.episode and request.episode.step),
        }
        wrong = [
            name for name, (theirs, ours) in said.items() if theirs is not None and theirs != ours
        ]
        if wrong:
            detail = (
                "it differs from the logged decision; leave it out, the server trusts its own log"
            )
            errors = [FieldError(f"/transition/{name}", "contradiction", detail) for name in wrong]
            raise ServiceError("Contradiction", f"{', '.join(wrong)} differ from the log", errors)

    async def _foreign_transition(
        self, served: Served, transition: LoggedTransition
    ) -> RewardResult:
        """A step that somebody else decided goes to the learner as it is, once."""
        is_continuous = isinstance(served, ServedBox)
        logic.check_foreign_transition(transition, is_continuous=is_continuous)
        finished = _encode_foreign(served, transition)
        identity = logic.step_identity(transition)
        encoded = encode_transition(finished, served.config.transition_schema)
        digest = hashlib.blake2b(encoded, digest_size=16).digest()
        keep_ms = int(served.config.retention_s * 1000)
        event = msgspec.msgpack.encode(transition)
        queued = self._feedback.transition(served.keys, identity, digest, encoded, event, keep_ms)
        reply = await confirmed(queued)
        if reply is UNCONFIRMED:
            return RewardResult(identity, "pending")
        if reply == b"conflict":
            detail = "this step was sent before with other content; steps are never overwritten"
            raise ServiceError("Contradiction", detail)
        state = "joined" if reply == b"new" else "duplicate"
        metrics.REWARDS.labels(state).inc()
        return RewardResult(
            identity, "joined" if reply == b"new" else "duplicate", transition.reward
        )


@contextmanager
def _counting_refusals() -> Iterator[None]:
    """Counts a reward that is refused, and lets the refusal pass."""
    try:
        yield
    except ServiceError as error:
        state = "out_of_range" if error.code == "OutOfRange" else "rejected"
        metrics.REWARDS.labels(state).inc()
        raise


def _answered(served: Served, record: DecisionRecord) -> tuple[str | list[float], float | None]:
    """The action of a decision, by its id or as a vector, and its propensity."""
    if isinstance(served, ServedBox):
        by_box = decode_box_response(record.response)
        return by_box.action.value, by_box.propensity
    by_set = decode_response(record.response)
    return by_set.action.id, by_set.propensity


def _encode_foreign(served: Served, transition: LoggedTransition) -> Transition:
    at = "/transition"
    assert transition.observation
    encoding = served.encoding
    actions, chosen = _taken(encoding, transition)
    after = transition.next_available_actions
    return Transition(
        decision_id=logic.step_identity(transition),
        state=encoding.state(transition.observation, pointer=f"{at}/observation"),
        actions=actions,
        action=chosen,
        reward=transition.reward,
        cost=transition.cost,
        next_state=_state_after(encoding, transition, actions.features[chosen]),
        next_actions=encoding.actions(after, f"{at}/next_available_actions")[0] if after else None,
        terminated=transition.terminated or transition.next_observation is None,
        truncated=transition.truncated,
        propensity=transition.propensity or CERTAIN_DENSITY,
        model_version=0,
        # Two systems may count their episodes alike, and ours may too.
        episode_id=f"{transition.behavior_policy}/{transition.episode_id}",
        step=transition.step or 0,
    )


def _taken(encoding: Encoding, transition: LoggedTransition) -> tuple[ActionSet, int]:
    """The set that there was, and the position of what was taken."""
    at, action = "/transition", transition.action
    assert action is not None
    if action.value is not None:
        return set_of_one(encoding.continuous(action.value, f"{at}/action/value")), 0
    assert transition.available_actions
    actions, _ = encoding.actions(transition.available_actions, f"{at}/available_actions")
    if action.id not in actions.ids:
        detail = "the action is not among `available_actions`"
        raise InvalidError(f"{at}/action/id", detail, "ActionNotShown", "not_shown")
    return actions, actions.ids.index(action.id)


def _state_after(encoding: Encoding, transition: LoggedTransition, action: Floats) -> Floats | None:
    """What a policy sees next. Of a logged step nothing before it is known, so a history begins with it."""
    follows = transition.next_observation
    if follows is None:
        return None
    assert transition.observation
    carry = encoding.carry_after(b"", transition.observation, action)
    return encoding.state(follows, carry, "/transition/next_observation")


def _answer(results: list[RewardResult]) -> Answer:
    is_spooled = any(result.state == "pending" for result in results)
    return Answer(202, _ENCODE(ObserveResponse(results)), (SPOOLED,) if is_spooled else ())
