"""`nacre up`: everything on one machine, in the foreground, until a signal."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from rich.console import Console

from service import logs
from service.stack import Stack, StackError


def run_up(data: Path, policies: Path | None, port: int) -> int:
    """Starts the stack and tends it; returns the exit code."""
    logs.set_up("up", "info")
    console = Console(stderr=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stack = Stack(
        data,
        policies=policies,
        port=port,
        host=os.environ.get("NACRE_HOST", "127.0.0.1"),
        redis_url=os.environ.get("REDIS_URL"),
    )
    with stack:
        try:
            if policies is not None:
                stack.wait_ready()
        except StackError as error:
            console.print(str(error), style="red", markup=False)
            return 1
        console.print(
            f"Nacre answers at {stack.url} (documentation: {stack.url}/docs, data: {data}). Ctrl-C stops it."
        )
        while not stop.wait(0.5):
            stack.tend()
    return 0
