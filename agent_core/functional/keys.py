"""Numbers that stand for names: the same in every process."""

from __future__ import annotations

from hashlib import blake2b


def key_of(name: str) -> int:
    """A signed 64-bit hash of `name`."""
    data = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little", signed=True)
