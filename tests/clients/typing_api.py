"""The public types as a caller meets them. Checked by mypy, never run."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from nacre_client import (
    Action,
    ActRequest,
    Approval,
    AsyncClient,
    AsyncEpisode,
    AsyncJob,
    Client,
    Decision,
    DecisionLife,
    Episode,
    Health,
    Held,
    HeldError,
    Job,
    JobState,
    LiveVersion,
    ProblemItem,
    RewardRequest,
    RewardResult,
    ShadowResult,
    VersionInfo,
)


def blocking(client: Client) -> None:
    assert_type(client.act([1.0], ["a"], policy="p", deadline_ms=20), Decision)
    assert_type(client.act({"user": {"age": 3}}, [Action("a", vector=[1.0])]), Decision)
    assert_type(client.act(np.zeros(3), [{"id": "a"}], fallback="baseline"), Decision)
    assert_type(client.act([1.0], baseline_action=[0.5]).action.value, tuple[float, ...])
    assert_type(client.episode().act([1.0]).propensity, float)
    items: list[ActRequest] = [{"observation": [1.0], "actions": ["a"], "subject": "s"}]
    assert_type(client.act_batch(items, {"explore": False}), list[Decision | ProblemItem | Held])
    assert_type(client.observe("d", 1.0, final=True), RewardResult)
    rewards: list[RewardRequest] = [{"decision_id": "d", "reward": 1.0}]
    assert_type(client.observe_many(rewards), list[RewardResult])
    assert_type(client.observe_transition(episode_id="e", step=0, reward=1.0), RewardResult)
    assert_type(client.shadow([1.0], ["a"], "a", behavior_policy="b"), ShadowResult)
    assert_type(client.decision("d"), DecisionLife)
    assert_type(client.learn(max_steps=1), Job)
    assert_type(client.learn().wait(), JobState)
    assert_type(client.episode(), Episode)
    assert_type(client.episode().act([1.0], ["a"], subject="s"), Decision)
    assert_type(client.get_policy().live, str | None)
    assert_type(client.versions(), list[VersionInfo])
    assert_type(client.promote("p@3"), LiveVersion)
    assert_type(client.approvals(state="pending"), list[Approval])
    assert_type(client.approve("d1", why="fine"), Approval)
    assert_type(client.ready(), Health)
    assert_type(client.limits(), dict[str, Any])


async def asynchronous(client: AsyncClient) -> None:
    assert_type(await client.act([1.0], ["a"], policy="p"), Decision)
    assert_type(
        await client.act_batch([{"observation": [1.0]}]), list[Decision | ProblemItem | Held]
    )
    assert_type(await client.observe("d", 1.0), RewardResult)
    assert_type(await client.learn(), AsyncJob)
    assert_type(client.episode(), AsyncEpisode)
    assert_type(await client.episode().reward(1.0), RewardResult)


def held(client: Client, error: HeldError) -> None:
    assert_type(client.wait(error.held, timeout_s=5), Decision)


def refused(client: Client) -> None:
    client.act([1.0], ["a"], subjct="s")  # type: ignore[call-arg]
    client.act("text", ["a"])  # type: ignore[arg-type]
    client.act([1.0], ["a"], mode="onlin")  # type: ignore[arg-type]
    client.act([1.0], ["a"], fallback="basline")  # type: ignore[arg-type]
    client.approve("d1")  # type: ignore[call-arg]
    client.observe("d", op="undo")  # type: ignore[arg-type]
    client.episode().act([1.0], ["a"], policy="p")  # type: ignore[call-arg]
    Client(max_retries=None)  # type: ignore[arg-type]
