"""What FastAPI's endpoints ask for: the service, and a caller with the right scope."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from service.bodies import read_body
from service.context import Service
from service.errors import ServiceError
from service.front_door import read_head
from service.security import Principal, Scope


def get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


def require(scope: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that gives the principal, or raises 401 or 403."""

    async def principal(request: Request) -> Principal:
        head = read_head(request.scope["headers"])
        found = get_service(request).keyring.authorize(head.key, scope)
        policy = request.path_params.get("policy")
        if policy is not None and not found.may_use(policy):
            raise ServiceError("NotFound", "there is no such policy")
        request.state.principal = found
        return found

    return principal


async def raw_body(request: Request) -> bytes:
    """The body, within the limits of size and time."""
    settings = get_service(request).settings
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            return await read_body(request.receive, settings.max_body_bytes)
    except TimeoutError:
        detail = f"the body took longer than {settings.body_timeout_s:g} s"
        raise ServiceError("RequestTimeout", detail) from None


Body = Annotated[bytes, Depends(raw_body)]
