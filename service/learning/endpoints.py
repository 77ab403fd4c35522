"""/learn and its jobs: HTTP in, HTTP out. The learner does the work; see `service.workers.learner`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response

from service import bodies
from service.clock import now_ms
from service.decisions.ids import new_id
from service.dependencies import Body, ServiceDep, require
from service.errors import InvalidError, ServiceError
from service.learning.logic import job_view
from service.learning.repository import LearningRepository
from service.learning.schemas import JobReport, JobRequest, LearnRequest
from service.policies.config import PolicyConfig
from service.replay.repository import ReplayRepository
from service.repository import PolicyKeys
from service.responses import json_response
from service.security import Principal

router = APIRouter(tags=["learning"])
Learner = Annotated[Principal, Depends(require("learn"))]
_LEARN = msgspec.json.Decoder(LearnRequest).decode


@router.post("/v1/learn", status_code=202)
@router.post("/learn", status_code=202, include_in_schema=False)
async def learn(service: ServiceDep, principal: Learner, body: Body) -> Response:
    """Queues a learn job; the answer's Location tells how it goes on."""
    bodies.check_depth(body, service.settings.max_depth)
    asked = bodies.decode(_LEARN, body)
    served = service.store.served(asked.policy, principal)
    _check_steps(asked, served.config)
    _check_promotion(asked, served.config)
    policy = served.config.policy
    newest, appended = await ReplayRepository(service.client).end(served.keys)
    # The policy's name in the id lets a job be found by its id alone.
    request = JobRequest(
        f"{policy}.{new_id()}",
        policy,
        asked.until,
        asked.promote,
        asked.dry_run,
        now_ms(),
        newest,
        appended,
    )
    running = await LearningRepository(service.client).create(served.keys, request)
    if running is not None:
        raise ServiceError("JobRunning", f"wait for /v1/learn/jobs/{running}")
    location = f"/v1/learn/jobs/{request.job_id}"
    return json_response(job_view(request, JobReport()), 202, {"location": location})


def _check_promotion(asked: LearnRequest, config: PolicyConfig) -> None:
    if asked.promote == "live" and config.approval is not None and config.approval.promotions:
        detail = (
            "the policy asks a person before a version goes live; use `gate`, which asks for it"
        )
        raise InvalidError("/promote", detail, field_code="needs_approval")


def _check_steps(asked: LearnRequest, config: PolicyConfig) -> None:
    kind = config.agent.policy_learner
    if asked.until.max_steps is not None and "replay" not in kind.capabilities:
        detail = f"`{kind.kind}` learns from each transition once and replays none; leave it out"
        raise InvalidError("/until/max_steps", detail, field_code="not_applicable")


@router.get("/v1/learn/jobs/{job_id}")
async def get_job(
    job_id: str, service: ServiceDep, principal: Learner, policy: str | None = None
) -> Response:
    """How a job stands."""
    owner = job_id.rpartition(".")[0]
    if principal.may_use(owner) and policy in (None, owner):
        found = await LearningRepository(service.client).job(PolicyKeys(owner), job_id)
        if found is not None:
            return json_response(job_view(*found))
    raise ServiceError("NotFound", "there is no such job")
