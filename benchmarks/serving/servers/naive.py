"""What one writes in an afternoon: FastAPI, pydantic models, a torch module, redis-py.

It is written with care, not slowed down: no validation beyond the types, inference mode, one thread,
a catalog of ready tensors. The bodies are those that Nacre gets, the answer has the same fields.
"""

from __future__ import annotations

import os
import random
import uuid
from datetime import UTC, datetime, timedelta

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from benchmarks.serving.workload import CATALOGS, DIM, catalog

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
STREAM = "naive:decisions"
EPSILON = 0.1
VERSION = "naive@1"


class Observation(BaseModel):
    vector: list[float]


class Action(BaseModel):
    id: str
    vector: list[float]


class ActByIds(BaseModel):
    """Actions by their names in the server's catalog."""

    policy: str
    observation: Observation
    actions: list[str]


class ActByFeatures(BaseModel):
    """Actions that bring their own features."""

    policy: str
    observation: Observation
    actions: list[Action]


class Chosen(BaseModel):
    id: str
    index: int


class Ranked(BaseModel):
    id: str
    probability: float
    score: float


class Decision(BaseModel):
    decision_id: str
    policy: str
    model_version: str
    action: Chosen
    propensity: float
    ranking: list[Ranked]
    reason: str
    reward_deadline: datetime


class Model:
    """An MLP over state and action, as wide as Nacre's, and the features of known actions."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        layers = (nn.Linear(2 * DIM, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self._network = nn.Sequential(*layers).eval()
        self._catalogs = {
            policy: {action_id: torch.tensor(row) for action_id, row in catalog(policy).items()}
            for policy in CATALOGS
        }

    def act_by_ids(self, request: ActByIds) -> Decision:
        known = self._catalogs[request.policy]
        features = torch.stack([known[action_id] for action_id in request.actions])
        return self._act(request.policy, request.observation, request.actions, features)

    def act_by_features(self, request: ActByFeatures) -> Decision:
        features = torch.tensor([action.vector for action in request.actions])
        ids = [action.id for action in request.actions]
        return self._act(request.policy, request.observation, ids, features)

    def _act(
        self, policy: str, observation: Observation, ids: list[str], features: Tensor
    ) -> Decision:
        scores = self._scores(torch.tensor(observation.vector), features)
        best, count = int(scores.argmax()), len(ids)
        explores = random.random() < EPSILON
        index = random.randrange(count) if explores else best
        probabilities = [EPSILON / count] * count
        probabilities[best] += 1 - EPSILON
        ranked = zip(ids, probabilities, scores.tolist(), strict=True)
        return Decision(
            decision_id=str(uuid.uuid4()),
            policy=policy,
            model_version=VERSION,
            action=Chosen(id=ids[index], index=index),
            propensity=probabilities[index],
            ranking=[Ranked(id=name, probability=p, score=s) for name, p, s in ranked],
            reason="explore" if index != best else "policy",
            reward_deadline=datetime.now(UTC) + timedelta(minutes=10),
        )

    @torch.inference_mode()
    def _scores(self, state: Tensor, features: Tensor) -> Tensor:
        pairs = torch.cat([state.expand(len(features), -1), features], dim=1)
        scores: Tensor = self._network(pairs).squeeze(1)
        return scores


def logged(request: BaseModel, decision: Decision) -> dict[str, str]:
    """The stream entry of one decision."""
    return {"request": request.model_dump_json(), "decision": decision.model_dump_json()}
