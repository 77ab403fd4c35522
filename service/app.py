"""Builds the ASGI application: the front door, FastAPI behind it, one error table, one lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from redis.exceptions import OutOfMemoryError, RedisError
from starlette.exceptions import HTTPException

from service import metrics, openapi
from service.approvals import endpoints as approvals
from service.bodies import DisconnectedError
from service.context import open_service
from service.decisions import lookup
from service.errors import FieldError, ServiceError, problem_response
from service.evaluation import endpoints as evaluation
from service.front_door import FrontDoor
from service.health import endpoints as health
from service.hot import MEMORY_LIMIT
from service.learning import endpoints as learning
from service.monitoring import endpoints as monitoring
from service.policies import endpoints as policies
from service.redis_link import BackpressureError
from service.rollout import endpoints as rollout
from service.settings import Settings
from service.trips import endpoints as trips
from service.version import __version__

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FrontDoor:
    """The application; its resources are made when the lifespan starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(settings) as service:
            app.state.service = door.backend = service
            yield
            app.state.service = door.backend = None

    app = FastAPI(title="Nacre", version=__version__, lifespan=lifespan)
    app.state.service = None
    modules = (
        health, policies, lookup, learning, approvals, evaluation, rollout, monitoring, trips,
    )  # fmt: skip
    for module in modules:
        app.include_router(module.router)
    app.openapi = lambda: openapi.document(__version__)  # type: ignore[method-assign]  # FastAPI's own hook
    _handle_errors(app)
    door = FrontDoor(app, max_body=settings.max_body_bytes, slow_s=settings.body_timeout_s)
    return door


def _handle_errors(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(RedisError, _on_redis_error)
    app.add_exception_handler(BackpressureError, _on_backpressure)
    app.add_exception_handler(DisconnectedError, _on_disconnect)
    app.add_exception_handler(Exception, _on_defect)


def _respond(request: Request, error: ServiceError) -> Response:
    metrics.REFUSED.labels(error.code).inc()
    request_id = request.headers.get("x-request-id", "")[:128]
    status, headers, body = problem_response(
        error, instance=request.url.path, request_id=request_id
    )
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return _respond(request, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "MethodNotAllowed" if error.status_code == 405 else "NotFound"
    response = _respond(request, ServiceError(code, "see /docs for what there is"))
    response.headers.update(error.headers or {})
    return response


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    places = [
        ("/" + "/".join(map(str, e["loc"][1:])), str(e["type"]), str(e["msg"]))
        for e in error.errors()
    ]
    problem = ServiceError(
        "InvalidRequest", "a parameter is wrong", [FieldError(*place) for place in places]
    )
    return _respond(request, problem)


async def _on_redis_error(request: Request, error: Exception) -> Response:
    log.warning("redis_unavailable", path=request.url.path, error=str(error))
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error):
        return _respond(request, ServiceError("RedisFull", MEMORY_LIMIT))
    return _respond(
        request, ServiceError("RedisUnavailable", "retry in a moment; /act keeps answering")
    )


async def _on_backpressure(request: Request, error: Exception) -> Response:
    return _respond(request, ServiceError("Overloaded", "the log cannot keep up; retry later"))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


async def _on_defect(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return _respond(request, ServiceError("InternalError", "it is logged"))
