"""Keeping count inside an episode: which step it is, what was decided last, whether it has ended."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from ._errors import InputError, NacreError
from ._models import Decision, RewardResult
from ._requests import (
    Actions,
    EndOfEpisode,
    Observation,
    RewardDetails,
    StepOptions,
)
from ._wire import new_id

if TYPE_CHECKING:
    from ._async_client import AsyncClient
    from ._client import Client

logger = logging.getLogger("nacre_client")


class _Bookkeeping:
    """The part of an episode that needs no I/O. Steps count from 0."""

    def __init__(self, policy: str | None, episode_id: str | None) -> None:
        self.episode_id = new_id() if episode_id is None else episode_id
        self.policy = policy
        self.step = 0
        self.last_decision: Decision | None = None
        self.ended_as: EndOfEpisode | None = None
        self._next_decision_id = new_id()

    def _step_options(self, options: StepOptions) -> dict[str, Any]:
        """What `act` needs beside observation and actions.

        A step that failed keeps its decision id: if the service had recorded it after all, the second
        try gets that decision, and not a conflict over the step.

        Raises:
            InputError: the episode has ended.
        """
        self._check_open()
        previous = self.last_decision
        place: dict[str, Any] = {"episode_id": self.episode_id, "step": self.step}
        if previous is not None:
            place["previous_decision_id"] = previous.decision_id
        chosen = {name: value for name, value in options.items() if value is not None}
        return {"decision_id": self._next_decision_id, **chosen, "episode": place}

    def _took(self, decision: Decision) -> Decision:
        self.last_decision = decision
        self.step += 1
        self._next_decision_id = new_id()
        return decision

    def _rewarded_id(self) -> str:
        if self.last_decision is None:
            raise InputError(
                "reward before the first act; expected a decision to reward; call act first"
            )
        return self.last_decision.decision_id

    def _check_open(self) -> None:
        if self.ended_as is not None:
            raise InputError(
                f"episode {self.episode_id} has ended as {self.ended_as}; "
                "open another with client.episode()"
            )

    @property
    def _needs_seal(self) -> bool:
        """An episode in which nothing was decided is unknown to the service."""
        return self.ended_as is None and self.step > 0


class Episode(_Bookkeeping):
    """One episode: act, reward, repeat, then say how it ended.

    with client.episode() as episode:
        while not (terminated or truncated):
            decision = episode.act(observation, actions)
            observation, reward, terminated, truncated, _ = env.step(decision.action.index)
            episode.reward(reward)
        if terminated: episode.terminate()
        else: episode.truncate(observation, actions)

    Leaving the block without saying so seals the episode as abandoned: nobody saw an end, so none is
    made up. There is no local fallback inside an episode: a step that the service has not seen would
    break the chain that it learns from, so `act` raises.
    """

    def __init__(self, client: Client, policy: str | None, episode_id: str | None) -> None:
        super().__init__(policy, episode_id)
        self._client = client

    def act(
        self,
        observation: Observation,
        actions: Actions | None = None,
        **options: Unpack[StepOptions],
    ) -> Decision:
        """The decision of this step. See `Client.act`."""
        merged = self._step_options(options)
        return self._took(
            self._client.act(observation, actions, fallback="raise", policy=self.policy, **merged)
        )

    def reward(
        self, reward: float | None = None, *, final: bool = True, **details: Unpack[RewardDetails]
    ) -> RewardResult:
        """Rewards the last decision. `final=False` when more rewards will come for the same step."""
        return self._client.observe(
            self._rewarded_id(), reward, final=final, policy=self.policy, **details
        )

    def terminate(self) -> None:
        """The task itself ended: nothing follows, and learning stops bootstrapping here."""
        self._end("terminated")

    def truncate(
        self,
        next_observation: Observation | None = None,
        next_available_actions: Actions | None = None,
    ) -> None:
        """Only the recording ended, by a time limit say; what would have come next still counts."""
        self._end("truncated", next_observation, next_available_actions)

    def _end(
        self,
        status: EndOfEpisode,
        next_observation: Observation | None = None,
        next_available_actions: Actions | None = None,
    ) -> None:
        self._check_open()
        if self._needs_seal:
            self._client.seal_episode(
                self.episode_id,
                status,
                next_observation=next_observation,
                next_available_actions=next_available_actions,
                policy=self.policy,
            )
        self.ended_as = status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.ended_as is not None:
            return
        try:
            self._end("abandoned")
        except NacreError as failure:
            _could_not_seal(self.episode_id, error, failure)


class AsyncEpisode(_Bookkeeping):
    """One episode, for asyncio; see `Episode`."""

    def __init__(self, client: AsyncClient, policy: str | None, episode_id: str | None) -> None:
        super().__init__(policy, episode_id)
        self._client = client

    async def act(
        self,
        observation: Observation,
        actions: Actions | None = None,
        **options: Unpack[StepOptions],
    ) -> Decision:
        """The decision of this step. See `AsyncClient.act`."""
        merged = self._step_options(options)
        return self._took(
            await self._client.act(
                observation, actions, fallback="raise", policy=self.policy, **merged
            )
        )

    async def reward(
        self, reward: float | None = None, *, final: bool = True, **details: Unpack[RewardDetails]
    ) -> RewardResult:
        """Rewards the last decision. `final=False` when more rewards will come for the same step."""
        return await self._client.observe(
            self._rewarded_id(), reward, final=final, policy=self.policy, **details
        )

    async def terminate(self) -> None:
        """The task itself ended: nothing follows, and learning stops bootstrapping here."""
        await self._end("terminated")

    async def truncate(
        self,
        next_observation: Observation | None = None,
        next_available_actions: Actions | None = None,
    ) -> None:
        """Only the recording ended, by a time limit say; what would have come next still counts."""
        await self._end("truncated", next_observation, next_available_actions)

    async def _end(
        self,
        status: EndOfEpisode,
        next_observation: Observation | None = None,
        next_available_actions: Actions | None = None,
    ) -> None:
        self._check_open()
        if self._needs_seal:
            await self._client.seal_episode(
                self.episode_id,
                status,
                next_observation=next_observation,
                next_available_actions=next_available_actions,
                policy=self.policy,
            )
        self.ended_as = status

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.ended_as is not None:
            return
        try:
            await self._end("abandoned")
        except NacreError as failure:
            _could_not_seal(self.episode_id, error, failure)


def _could_not_seal(episode_id: str, error: BaseException | None, failure: NacreError) -> None:
    """The block's own error goes first; the service seals an idle episode by itself in the end."""
    if error is None:
        raise failure
    logger.warning("episode %s could not be sealed as abandoned: %s", episode_id, failure)
