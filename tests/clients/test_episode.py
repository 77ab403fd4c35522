"""Episodes: steps are counted and linked, rewards close them, and every way out seals."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from nacre_client import ConnectFailedError, InputError, NotFoundError

from tests.clients.harness import Sdk, Wire, answer, decision_body, problem_body

ACTIONS = ["left", "right"]


class Service:
    """Decides, takes rewards and seals; keeps what it was told. `act_status` makes it refuse to act."""

    def __init__(self) -> None:
        self.acts: list[dict[str, Any]] = []
        self.rewards: list[dict[str, Any]] = []
        self.seals: list[tuple[str, dict[str, Any]]] = []
        self.act_status = 200
        self.seal_status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        import json

        body = json.loads(request.content)
        target = request.url.raw_path.decode()
        if target == "/v1/act":
            self.acts.append(body)
            changes = {"decision_id": body["decision_id"], "policy": "cart"}
            return answer(self.act_status, decision_body(**changes))
        if target == "/v1/observe":
            self.rewards.append(body)
            return answer(202, {"results": [{"reward_id": body["reward_id"], "state": "joined"}]})
        self.seals.append((target, body))
        return answer(self.seal_status, problem_body(self.seal_status, "Refused"))


@contextlib.asynccontextmanager
async def entered(episode: Any) -> AsyncIterator[Any]:
    """An episode of either flavour as a context."""
    if hasattr(episode, "__aenter__"):
        async with episode:
            yield episode
    else:
        with episode:
            yield episode


async def act_and_fail(sdk: Sdk, client: Any) -> None:
    """One step of episode e-1, then an error of the caller's own."""
    async with entered(client.episode(episode_id="e-1")) as episode:
        await sdk.call(episode.act, [0.0], ACTIONS)
        raise ZeroDivisionError


@pytest.fixture
def service() -> Service:
    return Service()


async def test_steps_are_counted_and_linked_to_the_decision_before(
    sdk: Sdk, service: Service
) -> None:
    client = sdk.connect(service, policy="cart")

    async with entered(client.episode(episode_id="e-1")) as episode:
        first = await sdk.call(episode.act, [0.0], ACTIONS)
        second = await sdk.call(episode.act, [1.0], ACTIONS, subject="user-1")
        await sdk.call(episode.terminate)

    assert [body["episode"] for body in service.acts] == [
        {"episode_id": "e-1", "step": 0},
        {"episode_id": "e-1", "step": 1, "previous_decision_id": first.decision_id},
    ]
    assert service.acts[1]["subject"] == "user-1"
    assert first.decision_id != second.decision_id


async def test_a_reward_belongs_to_the_last_decision_and_closes_it(
    sdk: Sdk, service: Service
) -> None:
    client = sdk.connect(service)

    async with entered(client.episode(policy="cart")) as episode:
        decision = await sdk.call(episode.act, [0.0], ACTIONS)
        await sdk.call(episode.reward, 0.5, final=False, type="bonus")
        result = await sdk.call(episode.reward, 1.0)
        await sdk.call(episode.terminate)

    bonus, last = service.rewards
    assert (bonus["reward"], bonus["final"], bonus["type"]) == (0.5, False, "bonus")
    assert (last["reward"], last["final"]) == (1.0, True)
    assert bonus["decision_id"] == last["decision_id"] == decision.decision_id
    assert last["policy"] == "cart"
    assert result.state == "joined"


async def test_a_terminated_episode_is_sealed_once(sdk: Sdk, service: Service) -> None:
    client = sdk.connect(service, policy="cart")

    async with entered(client.episode(episode_id="e/1")) as episode:
        await sdk.call(episode.act, [0.0], ACTIONS)
        await sdk.call(episode.terminate)

    assert service.seals == [("/v1/episodes/e%2F1/seal?policy=cart", {"status": "terminated"})]
    assert episode.ended_as == "terminated"


async def test_a_truncated_episode_says_what_would_have_come_next(
    sdk: Sdk, service: Service
) -> None:
    client = sdk.connect(service)

    async with entered(client.episode(episode_id="e-1")) as episode:
        await sdk.call(episode.act, [0.0], ACTIONS)
        await sdk.call(episode.truncate, [1.0], ACTIONS)

    assert service.seals == [
        (
            "/v1/episodes/e-1/seal",
            {
                "status": "truncated",
                "next_observation": {"vector": [1.0]},
                "next_available_actions": ["left", "right"],
            },
        )
    ]


async def test_leaving_by_an_error_abandons_the_episode_and_raises_the_error(
    sdk: Sdk, service: Service
) -> None:
    client = sdk.connect(service)

    with pytest.raises(ZeroDivisionError):
        await act_and_fail(sdk, client)

    assert service.seals == [("/v1/episodes/e-1/seal", {"status": "abandoned"})]


async def test_leaving_without_a_word_abandons_the_episode(sdk: Sdk, service: Service) -> None:
    client = sdk.connect(service)

    async with entered(client.episode(episode_id="e-1")) as episode:
        await sdk.call(episode.act, [0.0], ACTIONS)

    assert service.seals == [("/v1/episodes/e-1/seal", {"status": "abandoned"})]


async def test_an_episode_without_a_decision_is_never_mentioned(sdk: Sdk, service: Service) -> None:
    client = sdk.connect(service)

    async with entered(client.episode()):
        pass
    async with entered(client.episode()) as episode:
        await sdk.call(episode.truncate)

    assert service.seals == []


async def test_the_own_error_of_the_block_goes_before_a_failed_seal(
    sdk: Sdk, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.seal_status = 404
    client = sdk.connect(service)

    with caplog.at_level(logging.WARNING), pytest.raises(ZeroDivisionError):
        await act_and_fail(sdk, client)

    assert "episode e-1 could not be sealed as abandoned: 404 Refused" in caplog.text


async def test_a_failed_seal_alone_is_raised(sdk: Sdk, service: Service) -> None:
    service.seal_status = 404
    client = sdk.connect(service)

    with pytest.raises(NotFoundError):
        async with entered(client.episode()) as episode:
            await sdk.call(episode.act, [0.0], ACTIONS)


async def test_an_ended_episode_takes_no_further_step(sdk: Sdk, service: Service) -> None:
    client = sdk.connect(service)
    episode = client.episode(episode_id="e-1")
    await sdk.call(episode.act, [0.0], ACTIONS)
    await sdk.call(episode.terminate)

    with pytest.raises(InputError, match="episode e-1 has ended as terminated; open another"):
        await sdk.call(episode.act, [0.0], ACTIONS)
    with pytest.raises(InputError, match="has ended"):
        await sdk.call(episode.truncate)


async def test_the_last_step_can_be_rewarded_after_the_end(sdk: Sdk, service: Service) -> None:
    client = sdk.connect(service)
    episode = client.episode()
    await sdk.call(episode.act, [0.0], ACTIONS)
    await sdk.call(episode.terminate)

    await sdk.call(episode.reward, 1.0)

    assert len(service.rewards) == 1


async def test_a_reward_needs_a_decision(sdk: Sdk, service: Service) -> None:
    client = sdk.connect(service)

    with pytest.raises(InputError, match="reward before the first act"):
        await sdk.call(client.episode().reward, 1.0)


async def test_a_failed_step_is_tried_again_under_the_same_decision_id(
    sdk: Sdk, service: Service
) -> None:
    # The service may have recorded the step before the connection broke; a new id would be a conflict.
    service.act_status = 500
    client = sdk.connect(service)
    episode = client.episode()
    with pytest.raises(Exception, match="500"):
        await sdk.call(episode.act, [0.0], ACTIONS)
    service.act_status = 200

    await sdk.call(episode.act, [0.0], ACTIONS)
    await sdk.call(episode.act, [1.0], ACTIONS)

    first, again, following = service.acts
    assert (first["decision_id"], first["episode"]["step"]) == (again["decision_id"], 0)
    assert following["decision_id"] != first["decision_id"]
    assert following["episode"]["step"] == 1


async def test_an_episode_never_falls_back_locally(sdk: Sdk) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("scripted")

    client = sdk.connect(away, max_retries=0, fallback="baseline")

    with pytest.raises(ConnectFailedError):
        await sdk.call(client.episode().act, [0.0], ACTIONS, baseline_action="left")


async def test_episodes_have_ids_of_their_own(sdk: Sdk, service: Service) -> None:
    client = sdk.connect(service)

    assert client.episode().episode_id != client.episode().episode_id


async def test_an_episode_of_continuous_actions_needs_no_sets(sdk: Sdk) -> None:
    wire = Wire(answer(body=decision_body(action={"value": [0.5]}, propensity=2.0)), answer(204))
    episode = sdk.connect(wire).episode()

    decision = await sdk.call(episode.act, [1.0])
    await sdk.call(episode.truncate, [2.0])

    assert decision.action.value == (0.5,)
    assert wire.bodies[1] == {"status": "truncated", "next_observation": {"vector": [2.0]}}
