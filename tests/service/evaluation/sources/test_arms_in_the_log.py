"""Who made a log of several arms is known: its answers have the probabilities of the whole lottery."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from service.decisions import logic
from service.decisions.schemas import ActRequest, ActResponse, EpisodeStep, Observation
from service.evaluation.sources.policy_log import open_live
from service.evaluation.steps import LoggedStep
from service.evaluation.targets import named
from service.policies.head import Rollout
from service.policies.served import Serving, serving_of
from tests.support.ledgers import open_world
from tests.support.served import neural, served

_DOCUMENT = neural(rollout={"holdback": {"share": 0.2, "kind": "uniform"}})


def _serving() -> Serving:
    """A live version, a canary, and a holdback."""
    rollout = Rollout(
        rollout_id="r1", candidate=2, stage="canary", started_ms=0, since_ms=0, share=0.4
    )
    return serving_of(served(_DOCUMENT, 1), canary=served(_DOCUMENT, 2), rollout=rollout)


def _answer(serving: Serving, request: ActRequest, name: str) -> ActResponse:
    encoding = serving.live.encoding
    state, available = (
        encoding.state(request.observation),
        logic.available_actions(encoding, request),
    )
    assigned = logic.decide(serving, request, name, state, available, is_late=False)
    return logic.answer(serving.live, request, name, available, assigned, 0, None)


@pytest.mark.parametrize("in_episodes", [False, True])
async def test_behaviour_can_be_evaluated_on_decisions_of_every_arm(
    redis_url: str, tmp_path: Path, in_episodes: bool
) -> None:
    serving, answers = _serving(), dict[str, ActResponse]()
    async with open_world(redis_url, _DOCUMENT) as world:
        for number in range(30):
            name, place = f"d{number}", EpisodeStep(f"e{number}", 0) if in_episodes else None
            request = ActRequest(
                observation=Observation(vector=[1.0, -2.0]),
                actions=["a", "b", "c"],
                subject=f"user-{number}",
                episode=place,
            )
            answers[name] = _answer(serving, request, name)
            asked, said = msgspec.to_builtins(request), msgspec.to_builtins(answers[name])
            await world.write(world.record_of(name, request=asked, response=said))
        await world.join(at_ms=world.deadline_ms)

        def read() -> list[LoggedStep]:
            with open_live(redis_url, tmp_path, "home") as source:
                return list(source)

        steps = await asyncio.to_thread(read)

    assert {one.assignment.arm for one in answers.values()} == {"live", "canary", "holdback"}
    assert len(steps) == 30
    for step in steps:
        ranking = [ranked.probability for ranked in answers[step.decision_id].ranking]
        assert named("behaviour").answer(step).tolist() == ranking
        assert ranking[step.action] == step.propensity
