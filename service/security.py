"""API keys with scopes, kept only as hashes.

A key file holds one JSON object per line, or a list:

    {"name": "shop", "sha256": "<hex of the key>", "scopes": ["act", "observe"], "policies": ["home"]}

`policies` limits the key to these policies; absent means all. The same JSON may stand in
NACRE_API_KEYS. A key is 32 random bytes or more, so one round of SHA-256 is enough: there is nothing
to guess, and a slow hash would be paid on every request.
"""

from __future__ import annotations

import hashlib
import ipaddress
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
import structlog

from service.errors import ServiceError

log = structlog.get_logger(__name__)
Scope = Literal["act", "observe", "learn", "approve", "admin"]
ALL_SCOPES: Final[frozenset[Scope]] = frozenset(get_args(Scope))
_CACHE_LIMIT: Final = 4096


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key as configured."""

    name: str
    sha256: str
    scopes: list[Scope]
    policies: list[str] | None = None


class Principal(msgspec.Struct, frozen=True):
    """Who asks, and what it may do. `policies` None means all."""

    name: str
    scopes: frozenset[str]
    policies: frozenset[str] | None = None

    def may_use(self, policy: str) -> bool:
        return self.policies is None or policy in self.policies


ANYONE: Final = Principal("loopback", ALL_SCOPES)


class Keyring:
    """Maps a presented key to its principal."""

    def __init__(self, entries: list[KeyEntry]) -> None:
        self._by_hash = {
            entry.sha256.lower(): Principal(
                entry.name,
                frozenset(entry.scopes),
                None if entry.policies is None else frozenset(entry.policies),
            )
            for entry in entries
        }
        self._cache: dict[bytes, Principal] = {}

    @property
    def is_open(self) -> bool:
        """No key is configured: everyone who reaches the port may do everything."""
        return not self._by_hash

    def authorize(self, presented: bytes | None, scope: Scope) -> Principal:
        """The principal behind `presented`, a raw key.

        Raises:
            ServiceError: Unauthenticated, or Forbidden when the scope is missing.
        """
        if not self._by_hash:
            return ANYONE
        principal = self._cache.get(presented or b"") or self._look_up(presented)
        if scope not in principal.scopes:
            raise ServiceError("Forbidden", f"the key lacks the scope `{scope}`")
        return principal

    def _look_up(self, presented: bytes | None) -> Principal:
        if not presented:
            raise ServiceError("Unauthenticated", "send `Authorization: Bearer <key>`")
        principal = self._by_hash.get(hashlib.sha256(presented).hexdigest())
        if principal is None:
            raise ServiceError("Unauthenticated", "the key is not known")
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[presented] = principal
        return principal


def load_keyring(inline: str | None, path: Path | None, host: str) -> Keyring:
    """The keyring of this process.

    Raises:
        SystemExit: keys are malformed, or none is given while `host` is not loopback.
    """
    entries = [*_parse(inline or ""), *_parse(path.read_text("utf-8") if path else "")]
    if not entries:
        if not _is_loopback(host):
            raise SystemExit(
                f"refusing to listen on {host} without API keys: set NACRE_API_KEYS_FILE "
                "(see docs/operations.md, section API keys) or NACRE_HOST=127.0.0.1"
            )
        log.warning(
            "no_api_keys", notice="anyone on this machine may do everything; for development only"
        )
    return Keyring(entries)


def _parse(content: str) -> list[KeyEntry]:
    content = content.strip()
    if not content:
        return []
    try:
        if content.startswith("["):
            return msgspec.json.decode(content, type=list[KeyEntry])
        decode = msgspec.json.Decoder(KeyEntry).decode
        return [decode(line) for line in content.splitlines() if line.strip()]
    except msgspec.DecodeError as error:
        raise SystemExit(
            f"API keys are malformed: {error}; see docs/operations.md, section API keys"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
