"""Runs one of the servers: `python -m benchmarks.serving.servers floor 8000`.

All run on the same uvicorn with the same options as Nacre, so that only the application differs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import uvicorn

SERVERS: Final = ("floor", "naive_async", "naive_def", "naive_frozen", "no_log", "vw")


def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    assert name in SERVERS, f"one of {', '.join(SERVERS)}"
    application = import_module(f"benchmarks.serving.servers.{name}").create_app()
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    main()
