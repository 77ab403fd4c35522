"""/v1/evaluations: HTTP in, HTTP out. The worker does the work; see `service.evaluation.runner`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse
from msgspec.structs import replace

from service import bodies
from service.dependencies import Body, ServiceDep, require
from service.errors import InvalidError, ServiceError
from service.evaluation.html import page
from service.evaluation.logic import check
from service.evaluation.repository import EvaluationRepository
from service.evaluation.schemas import EvaluationJob, EvaluationRequest, EvaluationsView
from service.repository import PolicyKeys
from service.responses import json_response
from service.security import Principal

router = APIRouter(tags=["evaluation"])
Asker = Annotated[Principal, Depends(require("learn"))]
_REQUEST = msgspec.json.Decoder(EvaluationRequest).decode


@router.post("/v1/evaluations", status_code=202)
async def ask(service: ServiceDep, principal: Asker, body: Body) -> Response:
    """Queues an evaluation; the answer's Location tells how it goes on."""
    bodies.check_depth(body, service.settings.max_depth)
    asked = bodies.decode(_REQUEST, body)
    served = service.store.served(asked.policy, principal)
    version = check(asked, served.config.policy)
    if version is not None and await service.policies.version(served.keys, version) is None:
        raise InvalidError("/target", f"the policy has no version {version}; see its versions")
    repository = EvaluationRepository(service.client)
    request = replace(asked, policy=served.config.policy)
    job_id = await repository.ask(served.keys, request, principal.name)
    job = await repository.find(served.keys, job_id)
    return json_response(job, 202, {"location": f"/v1/evaluations/{job_id}"})


@router.get("/v1/evaluations")
async def get_jobs(service: ServiceDep, principal: Asker, policy: str | None = None) -> Response:
    """The newest evaluations of a policy, without their reports."""
    served = service.store.served(policy, principal)
    jobs = await EvaluationRepository(service.client).list(served.keys)
    return json_response(EvaluationsView(jobs))


@router.get("/v1/evaluations/{job_id}")
async def get_job(job_id: str, service: ServiceDep, principal: Asker) -> Response:
    """How an evaluation stands, with its report once it is done."""
    return json_response(await _found(job_id, service, principal))


@router.get("/v1/evaluations/{job_id}/page")
async def get_page(job_id: str, service: ServiceDep, principal: Asker) -> Response:
    """The report as a page for people."""
    job = await _found(job_id, service, principal)
    if job.report is None:
        raise ServiceError("NotFound", f"the evaluation is {job.status} and has no report")
    return HTMLResponse(page(job.report))


async def _found(job_id: str, service: ServiceDep, principal: Principal) -> EvaluationJob:
    owner = job_id.rpartition(".")[0]
    if principal.may_use(owner):
        job = await EvaluationRepository(service.client).find(PolicyKeys(owner), job_id)
        if job is not None:
            return job
    raise ServiceError("NotFound", "there is no such evaluation")
