"""The naive service with one line that few know: the garbage collector skips what start-up made.

Without it, each full collection walks through all that torch and FastAPI have loaded, and 500 actions
as objects cause many. So this is not quite an afternoon's work, and a harder opponent.
"""

from __future__ import annotations

import gc

from fastapi import FastAPI

from benchmarks.serving.servers import naive_async


def create_app() -> FastAPI:
    app = naive_async.create_app()
    gc.collect()
    gc.freeze()
    return app
