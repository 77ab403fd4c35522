"""The asyncio client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from . import _calls
from ._base import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT_S, DEFAULT_URL, MOST_CONNECTIONS, BaseClient
from ._calls import Call
from ._episode import AsyncEpisode
from ._errors import UNAVAILABLE, HeldError, NotFoundError, ProblemItem
from ._held import PAUSE_S, Patience
from ._jobs import AsyncJob
from ._models import (
    Approval,
    CatalogInfo,
    Decision,
    DecisionLife,
    Health,
    Held,
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
    ActOptions,
    ActRequest,
    EndOfEpisode,
    Fallback,
    Observation,
    Promotion,
    RewardOptions,
    RewardRequest,
    RolloutStart,
    TransitionFields,
)

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class AsyncClient(BaseClient):
    """Talks to one Nacre service. Tasks of one event loop may share it; make one and keep it.

    async with AsyncClient("http://127.0.0.1:8000", policy="home_hero") as client:
        decision = await client.act({"user": {"tier": "gold"}}, ["news", "sport"])
        show(decision.action.id)
        await client.observe(decision.decision_id, 1.0)

    Settings and methods are those of `Client`.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        policy: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: float = DEFAULT_MAX_RETRIES,
        fallback: Fallback = "raise",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(
            base_url,
            api_key=api_key,
            policy=policy,
            timeout_s=timeout_s,
            max_retries=max_retries,
            fallback=fallback,
        )
        import httpx

        limits = httpx.Limits(
            max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS
        )
        self._http = httpx.AsyncClient(transport=transport, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; the client cannot be used afterwards."""
        await self._http.aclose()

    async def _send(self, call: Call[T]) -> T:
        import asyncio

        import httpx

        tries = self._tries(call)
        while True:
            try:
                response = await self._http.send(self._request(call, tries))
            except httpx.RequestError as error:
                pause_s = self._after_failure(call, tries, error)
            else:
                if self._is_answer(call, response):
                    return self._answer(call, response)
                pause_s = self._after_refusal(tries, response)
            await asyncio.sleep(pause_s)

    # Decisions

    async def act(
        self,
        observation: Observation,
        actions: Actions | None = None,
        *,
        fallback: Fallback | None = None,
        **options: Unpack[ActOptions],
    ) -> Decision:
        """Which of the available actions to take now.

        `observation`: floats, or nested named features. `actions`: ids of the policy's catalog, or
        actions with their own vector or features; left out where actions are continuous, and the answer
        is then `decision.action.value`. `fallback`: overrides the client's.
        Further options: see `ActOptions`.

        Raises:
            InvalidRequestError: the service refused the input; `errors` says where.
            ConnectFailedError, DeadlineExceededError, ServerError, RateLimitedError: no decision could
                be had, and there is no fallback.
            HeldError: a person must approve it first; `wait` waits for the person.
        """
        fallback = self._fallback_of(fallback)
        body = self._act_body(observation, actions, options)
        try:
            answer = await self._send(_calls.act(body, options.get("deadline_ms")))
        except UNAVAILABLE as error:
            return self._local_decision(body, fallback, error)
        if isinstance(answer, Held):
            raise HeldError(answer)
        return answer

    async def act_batch(
        self,
        requests: Sequence[ActRequest],
        defaults: ActDefaults | None = None,
        *,
        fallback: Fallback | None = None,
    ) -> list[Decision | ProblemItem | Held]:
        """Many decisions in one request: one answer an item, in order, each a decision, its problem, or a `Held`
        that waits for a person.

        `defaults`: what the items share; its `deadline_ms` bounds the whole call. `limits()` says how
        many items the service takes at once.
        """
        fallback = self._fallback_of(fallback)
        items, shared = _calls.batch_bodies(requests, defaults, self.policy)
        try:
            return await self._send(
                _calls.act_batch(items, shared, (defaults or {}).get("deadline_ms"))
            )
        except UNAVAILABLE as error:
            return [self._local_decision({**shared, **item}, fallback, error) for item in items]

    async def shadow(
        self,
        observation: Observation,
        actions: Actions,
        action_id: str,
        *,
        behavior_policy: str,
        propensity: float | None = None,
        decision_id: str | None = None,
        policy: str | None = None,
    ) -> ShadowResult:
        """What the policy thinks of `action_id`, which somebody else (`behavior_policy`) chose.

        `propensity`: its probability in (0, 1] under whoever chose, if known. Rewards go to `observe`
        with the result's `decision_id`.
        """
        call = _calls.shadow(
            observation,
            actions,
            action_id,
            behavior_policy=behavior_policy,
            propensity=propensity,
            decision_id=decision_id,
            policy=policy or self.policy,
        )
        return await self._send(call)

    async def decision(self, decision_id: str, *, policy: str | None = None) -> DecisionLife:
        """The whole life of one decision, from the request to the versions that learned from it."""
        return await self._send(_calls.decision(decision_id, policy or self.policy))

    async def activate(self, decision_id: str, *, policy: str | None = None) -> None:
        """Tells that a decision made with `defer_activation` was really shown."""
        await self._send(_calls.activate(decision_id, policy or self.policy))

    # Approvals

    async def wait(self, held: Held, *, timeout_s: float | None = None) -> Decision:
        """The decision that a person approved, or the fallback where it was rejected or nobody answered.

        `timeout_s`: by default until a while after the deadline. Inside an episode, call its `act` again with the
        same arguments afterwards: it gets this decision, and counts the step.

        Raises:
            DeadlineExceededError: nobody has answered after `timeout_s`.
            NacreError: it was void; there is no decision.
        """
        import asyncio

        patience = Patience(held, timeout_s)
        while True:
            wait_s = patience.poll_s()
            try:
                approval = await self.approval(held.approval_id, wait_s=wait_s, policy=held.policy)
            except NotFoundError:
                if not wait_s:
                    raise
                await asyncio.sleep(
                    PAUSE_S
                )  # Redis was away when it was asked; it appears with Redis
                continue
            decision = patience.decided(approval, wait_s)
            if decision is not None:
                return decision

    async def approvals(
        self, *, state: str = "pending", policy: str | None = None
    ) -> list[Approval]:
        """What waits for a person, most urgent first, or what became of it: "approved", "rejected", "expired",
        "void". Of all policies that the API key may use, unless the call or the client names one."""
        return await self._send(_calls.approvals(policy or self.policy, state))

    async def approval(
        self, approval_id: str, *, wait_s: float = 0.0, policy: str | None = None
    ) -> Approval:
        """One approval, with the request and both possible answers in `detail`.

        `wait_s`: up to 30 seconds that the service waits for an answer of the person.
        """
        call = _calls.approval(self._policy_name(policy), approval_id, wait_s, self.timeout_s)
        return await self._send(call)

    async def approve(self, approval_id: str, *, why: str, policy: str | None = None) -> Approval:
        """Says yes, with the reason for it. Needs a key with the scope `approve`.

        Raises:
            PermissionDeniedError: the same key asked for it.
            ConflictError: somebody was faster, the deadline has passed, or it is void.
        """
        name = self._policy_name(policy)
        return await self._send(_calls.answer_approval(name, approval_id, "approve", why))

    async def reject(self, approval_id: str, *, why: str, policy: str | None = None) -> Approval:
        """Says no, with the reason for it.

        Raises:
            ConflictError: somebody was faster, the deadline has passed, or it is void.
        """
        name = self._policy_name(policy)
        return await self._send(_calls.answer_approval(name, approval_id, "reject", why))

    # Feedback

    async def observe(
        self, decision_id: str, reward: float | None = None, **options: Unpack[RewardOptions]
    ) -> RewardResult:
        """Reports one reward for an earlier decision. See `RewardOptions`.

        Raises:
            InvalidRequestError: the reward id was used before with another value, say.
        """
        request: RewardRequest = {"decision_id": decision_id, "reward": reward, **options}
        return await self._send(_calls.observe(self.policy, request))

    async def observe_many(self, rewards: Sequence[RewardRequest]) -> list[RewardResult]:
        """Reports many rewards in one request; the results keep their order.

        One that is wrong has state "rejected" and its `problem`; the others count.
        """
        return await self._send(_calls.observe_many(self.policy, rewards))

    async def observe_transition(self, **step: Unpack[TransitionFields]) -> RewardResult:
        """Reports a whole step that was lived elsewhere. See `TransitionFields`."""
        return await self._send(_calls.observe_transition(self.policy, step))

    async def seal_episode(
        self,
        episode_id: str,
        status: EndOfEpisode,
        *,
        next_observation: Observation | None = None,
        next_available_actions: Actions | None = None,
        policy: str | None = None,
    ) -> None:
        """Ends an episode. A truncated one may say what would have come next."""
        call = _calls.seal_episode(
            episode_id,
            status,
            next_observation=next_observation,
            next_available_actions=next_available_actions,
            policy=policy or self.policy,
        )
        await self._send(call)

    def episode(self, *, policy: str | None = None, episode_id: str | None = None) -> AsyncEpisode:
        """A helper that counts the steps of one episode and links its decisions."""
        return AsyncEpisode(self, policy or self.policy, episode_id)

    # Learning

    async def learn(
        self,
        *,
        new_transitions: int | None = None,
        max_steps: int | None = None,
        max_seconds: float | None = None,
        promote: Promotion = "none",
        dry_run: bool = False,
        policy: str | None = None,
    ) -> AsyncJob:
        """Asks for one learning job now, which ends at the first limit it meets.

        Raises:
            ConflictError: a job for the policy is running already.
        """
        call = _calls.learn(
            policy=policy or self.policy,
            new_transitions=new_transitions,
            max_steps=max_steps,
            max_seconds=max_seconds,
            promote=promote,
            dry_run=dry_run,
        )
        return AsyncJob(self, await self._send(call))

    async def job(self, job_id: str) -> AsyncJob:
        """A handle on a job that was started before."""
        return AsyncJob(self, await self._send(_calls.job(job_id)))

    # Policies

    async def policies(self) -> list[str]:
        """The names of all policies that the API key may use."""
        return await self._send(_calls.policies())

    async def get_policy(self, policy: str | None = None) -> PolicyInfo:
        """One policy: its configuration, its live version, its counts."""
        return await self._send(_calls.policy(self._policy_name(policy)))

    async def put_policy(
        self, config: Mapping[str, Any], *, restart: bool = False, policy: str | None = None
    ) -> PolicyChange:
        """Creates a policy or changes its configuration.

        `restart`: accepts that the model starts from nothing when it does not fit the new file.

        Raises:
            ConflictError: the change would cost the model, and `restart` is False.
        """
        name = self._policy_name(policy or config.get("policy"))
        return await self._send(_calls.put_policy(name, config, restart))

    async def put_actions(
        self,
        actions: Actions,
        *,
        remove: Sequence[str] = (),
        revive: Sequence[str] = (),
        policy: str | None = None,
    ) -> CatalogInfo:
        """Adds or replaces actions of the policy's catalog, and removes the ids in `remove`.

        `revive`: ids that were removed before and may be used again; their old rewards belong to them.
        """
        call = _calls.put_actions(self._policy_name(policy), actions, remove, revive)
        return await self._send(call)

    async def versions(self, policy: str | None = None) -> list[VersionInfo]:
        """The model versions of a policy, oldest first."""
        return await self._send(_calls.versions(self._policy_name(policy)))

    async def promote(
        self,
        version: str | int,
        *,
        why: str | None = None,
        pin: bool = False,
        policy: str | None = None,
    ) -> LiveVersion:
        """Makes a version ("digits@42" or 42) the one that decides.

        `why`: kept in the log. `pin`: keeps the learner from replacing it by itself.
        """
        call = _calls.promote(self._policy_name(policy), version, why=why, pin=pin)
        return await self._send(call)

    async def rollback(
        self, *, why: str | None = None, quarantine: bool = False, policy: str | None = None
    ) -> LiveVersion:
        """Goes back to the version that decided before, and pins it.

        `quarantine`: keeps decisions of the version that is left from being learned from.
        """
        call = _calls.rollback(self._policy_name(policy), why=why, quarantine=quarantine)
        return await self._send(call)

    async def audit(self, policy: str | None = None) -> dict[str, Any]:
        """Whether the logged propensities are what was really played."""
        return await self._send(_calls.audit(self._policy_name(policy)))

    # Rollouts

    async def rollout(self, policy: str | None = None) -> RolloutInfo:
        """How the candidate of a policy stands on its way to all traffic, and what comes next."""
        return await self._send(_calls.rollout(self._policy_name(policy)))

    async def start_rollout(
        self,
        version: str | int,
        *,
        why: str,
        at: RolloutStart = "gate",
        policy: str | None = None,
    ) -> RolloutInfo:
        """Sends a version ("digits@42" or 42) on its way: shadow, gate, canary steps, live.

        `at`: "canary" goes round the shadow and the gate.

        Raises:
            ConflictError: a rollout is under way, or the policy is pinned.
        """
        call = _calls.start_rollout(self._policy_name(policy), version, why, at)
        return await self._send(call)

    async def advance_rollout(self, *, why: str, policy: str | None = None) -> RolloutInfo:
        """Moves the rollout on to its next stage or step, whatever the evidence.

        Raises:
            ConflictError: none is under way, the policy is tripped, or an approval is missing.
        """
        return await self._send(_calls.advance_rollout(self._policy_name(policy), why))

    async def abort_rollout(
        self, *, why: str, quarantine: bool = False, policy: str | None = None
    ) -> RolloutInfo:
        """Ends the rollout: the live version decides for all again.

        `quarantine`: keeps decisions of the candidate from being learned from.
        """
        call = _calls.abort_rollout(self._policy_name(policy), why, quarantine)
        return await self._send(call)

    async def shadows(self, policy: str | None = None) -> dict[str, Any]:
        """What candidates would have done and earned."""
        return await self._send(_calls.shadows(self._policy_name(policy)))

    async def events(self, *, count: int = 100, policy: str | None = None) -> list[dict[str, Any]]:
        """Who moved the policy's head, when and why, newest first."""
        return await self._send(_calls.events(self._policy_name(policy), count))

    # The service itself

    async def limits(self) -> dict[str, Any]:
        """The sizes that the service accepts."""
        return await self._send(_calls.limits())

    async def health(self) -> Health:
        """Whether the process is alive."""
        return await self._send(_calls.health("/healthz"))

    async def ready(self) -> Health:
        """Whether the service can decide; "not yet" is an answer, not an error."""
        return await self._send(_calls.health("/readyz"))
