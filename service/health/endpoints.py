"""Alive, ready, limits, metrics. Liveness asks nobody; readiness asks whether this server can decide."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service import metrics
from service.dependencies import ServiceDep, require
from service.responses import json_response
from service.security import Principal

Reader = Annotated[Principal, Depends(require("observe"))]
router = APIRouter(tags=["health"])


@router.get("/healthz")
@router.get("/v2/health/live")
async def healthz() -> Response:
    """Alive. Does not depend on Redis: restarting this process would not bring Redis back."""
    return json_response({"status": "alive"})


@router.get("/readyz")
@router.get("/v2/health/ready")
async def readyz(service: ServiceDep) -> Response:
    """Ready when a policy can decide. A refused version or a silent Redis is told, and is no reason to
    take the server out: it keeps deciding with what it has."""
    serving = [one.label for one in service.store.all_served()]
    is_ready = bool(serving)
    body = {
        "status": "ready" if is_ready else "not_ready",
        "serving": sorted(serving),
        "refused": dict(service.store.refused()),
        "redis": {"connected": service.link.is_connected, "waiting": service.link.waiting},
    }
    return json_response(body, 200 if is_ready else 503, None if is_ready else {"retry-after": "1"})


@router.get("/metrics")
async def get_metrics(service: ServiceDep) -> Response:
    """Prometheus text."""
    metrics.LINK_WAITING.set(service.link.waiting)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/limits")
async def limits(service: ServiceDep) -> Response:
    """What a request may ask for."""
    settings = service.settings
    return json_response(
        {
            "max_body_bytes": settings.max_body_bytes,
            "max_depth": settings.max_depth,
            "max_batch": settings.max_batch,
            "max_id_length": 256,
            "max_waiting": settings.max_waiting,
            "body_timeout_s": settings.body_timeout_s,
        }
    )


@router.get("/v2/models/{policy}")
async def model(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """Open Inference Protocol metadata of one policy: what goes in, what comes out."""
    served = service.store.served(policy, principal)
    spec = served.config.agent.spec
    return json_response(
        {
            "name": policy,
            "versions": [str(served.version)],
            "platform": "nacre",
            "inputs": [
                {"name": "observation", "datatype": "FP32", "shape": [spec.state_dim]},
                {"name": "actions", "datatype": "FP32", "shape": [-1, spec.action_dim]},
            ],
            "outputs": [
                {"name": "probabilities", "datatype": "FP64", "shape": [-1]},
                {"name": "scores", "datatype": "FP64", "shape": [-1]},
            ],
        }
    )
