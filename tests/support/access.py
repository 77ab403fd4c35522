"""API keys for tests of who may do what."""

from __future__ import annotations

import hashlib
import json
from typing import Final

KEYS: Final = {
    "admin": "admin-3f9c1d5a7b2e4860",
    "shop": "shop-8d04c6e1f7a95b32",
}
"""The keys as their owners hold them. `shop` may act and observe, for the policy `shop` only."""


def keys_setting() -> str:
    """What NACRE_API_KEYS holds: only hashes."""
    entries = [
        {"name": "admin", "scopes": ["act", "observe", "learn", "admin"]},
        {"name": "shop", "scopes": ["act", "observe"], "policies": ["shop"]},
    ]
    return json.dumps(
        [
            entry | {"sha256": hashlib.sha256(KEYS[str(entry["name"])].encode()).hexdigest()}
            for entry in entries
        ]
    )
