"""What the front door hands to a hot endpoint, and what it takes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.security import Principal

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class HotRequest:
    """One request: body complete, size checked, caller known."""

    body: bytes
    media: Literal["json", "msgpack"]
    principal: Principal
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body and extra headers."""

    status: int
    body: bytes
    headers: Headers = ()
