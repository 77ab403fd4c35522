"""The API process: uvicorn around the front door."""

from __future__ import annotations

import torch
import uvicorn

from service.app import create_app
from service.settings import Settings


def run_api(settings: Settings) -> None:
    """Serves until a signal."""
    torch.set_num_threads(1)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    server.run()
