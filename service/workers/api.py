"""The API process: uvicorn around the front door."""

from __future__ import annotations

import gc
import socket

import torch
import uvicorn

from service.app import create_app
from service.fast_lane import FastLane
from service.settings import Settings


class _Server(uvicorn.Server):
    """Keeps the garbage collector off what lives as long as the process.

    torch and FastAPI leave 220,000 objects that never die. A full collection walks them for 96 ms, in the
    middle of a request; frozen, they are not looked at.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()


def server_config(settings: Settings) -> uvicorn.Config:
    """How uvicorn runs Nacre."""
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=FastLane,
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,  # nobody here reads the caller's address
        timeout_graceful_shutdown=5,
    )


def run_api(settings: Settings) -> None:
    """Serves until a signal."""
    torch.set_num_threads(1)
    _Server(server_config(settings)).run()
