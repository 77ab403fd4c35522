"""Runs one of the servers: `python -m benchmarks.serving.servers floor 8000`.

The options of uvicorn are those that Nacre gives it, so that only the application differs. What Nacre
changes at start besides (`service.workers.api`) the floor and vw get, too: a bound must not be handicapped.
Nacre without its log starts as Nacre does, by the very same function.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import Final

import uvicorn

from benchmarks.serving.servers import no_log

FROZEN: Final = ("floor", "naive_frozen", "vw")
SERVERS: Final = (*FROZEN, "naive_async", "naive_def")


def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    if name == "no_log":
        return no_log.run()
    assert name in SERVERS, f"one of {', '.join(SERVERS)}"
    module = "naive_async" if name == "naive_frozen" else name
    application = import_module(f"benchmarks.serving.servers.{module}").create_app()
    if name in FROZEN:
        gc.collect()
        gc.freeze()
    return uvicorn.run(
        application,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
