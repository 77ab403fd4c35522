"""JSON answers of the ordinary endpoints, encoded by msgspec like the hot ones."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` is a struct, or anything built of plain values and structs."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
