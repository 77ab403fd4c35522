"""A thousand swaps of the model under load: no error, and no decision made by two models at once.

Every version has its own random weights. Afterwards each answer is scored again by the torch form of all
versions; it is torn unless the scores that were sent are those of the version that it names, and of no other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec
import numpy as np
import redis.asyncio
import torch

from agent_core.interfaces import Policy
from agent_core.snapshot import PolicySnapshot
from agent_core.types import Floats, RaggedActions
from benchmarks.serving.load import Load
from benchmarks.serving.rig import NACRE, Rig, RigError
from benchmarks.serving.workload import SMALL, Question, by_ids, json_shots, policy_file, questions
from service.clock import now_ms, rfc3339
from service.policies.artefacts import ArtefactStore
from service.policies.config import PolicyConfig, parse_policy
from service.policies.repository import PolicyRepository, VersionDescription
from service.repository import PolicyKeys

SWAPS: Final = 1_000
_VERSIONS: Final = 8
_PER_SECOND: Final = 400.0
_CONNECTIONS: Final = 8
_LONGEST_S: Final = 300.0
_SAME: Final = 1e-3
"""Largest difference of a score to its recomputation: float32 gives 1e-5, another version 1."""


class SwapResult(msgspec.Struct, frozen=True):
    """`median_ms`: from the call that promotes until the server serves the version."""

    swaps: int
    decisions: int
    errors: int
    torn: int
    seen_versions: int
    median_ms: float
    seconds: float
    complaint: str


class _Ranked(msgspec.Struct):
    id: str
    score: float


class _Answer(msgspec.Struct):
    model_version: str
    ranking: list[_Ranked]


async def measure_swaps(rig: Rig, swaps: int = SWAPS) -> SwapResult:
    """Swaps while the load generator asks, then looks at every answer."""
    asked = questions(SMALL)
    shots = json_shots("/v1/act", [by_ids(SMALL, one) for one in asked], asked)
    policies = await _publish_versions(rig)
    load = Load(shots, _CONNECTIONS, _LONGEST_S, limit=10**9, rate=_PER_SECOND, keeps=True)
    with rig.firing(NACRE, load) as firing:
        started = time.monotonic()
        times_s = list(_promote_in_turn(rig, list(policies), swaps, started + _LONGEST_S))
        seconds = time.monotonic() - started
        firing.finish()
        result = firing.result()
    torn, seen = judge(result.kept, expected_scores(policies, asked))
    return SwapResult(
        swaps=len(times_s),
        decisions=result.window.requests,
        errors=result.window.failed,
        torn=torn,
        seen_versions=seen,
        median_ms=median(times_s) * 1e3,
        seconds=seconds,
        complaint=result.complaint,
    )


def _promote_in_turn(
    rig: Rig, versions: Sequence[int], swaps: int, deadline: float
) -> Iterator[float]:
    """Yields the seconds that each swap took; the server says itself what it serves."""
    for at in range(swaps):
        version, started = versions[at % len(versions)], time.monotonic()
        url = f"{rig.url(NACRE)}/v1/policies/{SMALL}/versions/{version}/promote"
        rig.http.post(url, json={"why": "benchmark"}).raise_for_status()
        while (
            f"{SMALL}@{version}" not in rig.http.get(f"{rig.url(NACRE)}/readyz").json()["serving"]
        ):
            if time.monotonic() > deadline:
                raise RigError(f"swap {at + 1} of {swaps} did not happen")
        yield time.monotonic() - started


async def _publish_versions(rig: Rig) -> dict[int, Policy]:
    config, artefacts = parse_policy(policy_file(SMALL)), ArtefactStore(rig.artefacts)
    keys, published = PolicyKeys(SMALL), {}
    async with redis.asyncio.Redis.from_url(rig.redis_url) as client:
        repository = PolicyRepository(client)
        for seed in range(_VERSIONS):
            version, policy = await repository.next_version(keys), _random_policy(config, seed)
            made_at = rfc3339(now_ms())
            snapshot = PolicySnapshot.of(
                policy,
                policy_name=SMALL,
                model_version=version,
                config=config.agent,
                created_at=made_at,
            )
            artefacts.save(SMALL, version, snapshot)
            description = VersionDescription(
                version=version,
                parent=1,
                made_at=made_at,
                config_hash=config.config_hash,
                feature_schema=config.agent.feature_schema,
                experience=0,
                updates=0,
            )
            await repository.publish(keys, description, promote=False)
            published[version] = policy
    return published


def _random_policy(config: PolicyConfig, seed: int) -> Policy:
    policy = config.agent.policy_learner.build_policy(config.agent.spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in policy.state_dict().values():
            tensor.normal_(0.0, 0.3, generator=generator)
    assert isinstance(policy, Policy)
    return policy


# -- afterwards ---------------------------------------------------------------------------------


def expected_scores(
    policies: Mapping[int, Policy], asked: Sequence[Question]
) -> dict[int, list[Floats]]:
    """Version -> for each question the score of each of its actions."""
    state = torch.from_numpy(np.stack([question.observation for question in asked]))
    sizes = [len(question.ids) for question in asked]
    features = torch.from_numpy(np.concatenate([question.vectors for question in asked]))
    actions = RaggedActions(features, torch.tensor([0, *np.cumsum(sizes)]))
    with torch.inference_mode():
        return {
            version: list(policy.values(state, actions).numpy().reshape(len(asked), -1))
            for version, policy in policies.items()
        }


def judge(
    answers: Sequence[tuple[int, bytes]], expected: Mapping[int, Sequence[Floats]]
) -> tuple[int, int]:
    """How many of `answers` (number of the question, body) are torn, and how many versions gave them."""
    torn, seen = 0, set()
    for question, body in answers:
        answer = msgspec.json.decode(body, type=_Answer)
        scores = np.array([one.score for one in answer.ranking])
        matches = [v for v, tables in expected.items() if _is_same(scores, tables[question])]
        torn += matches != [int(answer.model_version.rpartition("@")[2])]
        seen.add(answer.model_version)
    return torn, len(seen)


def _is_same(scores: Floats, table: Floats) -> bool:
    return scores.shape == table.shape and bool(np.abs(scores - table).max() < _SAME)
