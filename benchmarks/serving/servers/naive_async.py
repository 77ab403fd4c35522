"""The naive service with `async def` endpoints."""

from __future__ import annotations

from fastapi import FastAPI
from redis.asyncio import Redis

from benchmarks.serving.servers.naive import (
    REDIS_URL,
    STREAM,
    ActByFeatures,
    ActByIds,
    Decision,
    Model,
    logged,
)


def create_app() -> FastAPI:
    app, model, redis = FastAPI(), Model(), Redis.from_url(REDIS_URL)

    @app.post("/act")
    async def act(request: ActByIds) -> Decision:
        decision = model.act_by_ids(request)
        await redis.xadd(STREAM, logged(request, decision))  # type: ignore[arg-type]  # str keys and values
        return decision

    @app.post("/act_features")
    async def act_features(request: ActByFeatures) -> Decision:
        decision = model.act_by_features(request)
        await redis.xadd(STREAM, logged(request, decision))  # type: ignore[arg-type]  # str keys and values
        return decision

    return app
