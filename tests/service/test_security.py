"""API keys: hashed, scoped, limited to policies; none needed on loopback only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from service.errors import ServiceError
from service.security import ALL_SCOPES, Keyring, load_keyring

KEY = b"a-key-of-32-random-bytes-or-more"


def entry(**changes: object) -> str:
    known = {"name": "shop", "sha256": hashlib.sha256(KEY).hexdigest(), "scopes": ["act"]}
    return json.dumps(known | changes)


def keyring(**changes: object) -> Keyring:
    return load_keyring(entry(**changes), None, "0.0.0.0")


def test_a_known_key_with_the_scope_is_let_in() -> None:
    assert keyring().authorize(KEY, "act").name == "shop"


@pytest.mark.parametrize("presented", [None, b"", b"wrong"])
def test_a_missing_or_unknown_key_is_refused(presented: bytes | None) -> None:
    with pytest.raises(ServiceError, match="Unauthenticated"):
        keyring().authorize(presented, "act")


def test_a_key_without_the_scope_is_forbidden_every_time() -> None:
    keys = keyring()

    for _ in range(2):  # the second time from the cache
        with pytest.raises(ServiceError, match="Forbidden"):
            keys.authorize(KEY, "admin")


def test_a_key_may_be_limited_to_policies() -> None:
    principal = keyring(policies=["home"]).authorize(KEY, "act")

    assert principal.may_use("home")
    assert not principal.may_use("other")


def test_keys_come_from_a_file_a_line_each_or_from_a_list(tmp_path: Path) -> None:
    lines, as_list = tmp_path / "lines", tmp_path / "list"
    lines.write_text(entry() + "\n\n")
    as_list.write_text(f"[{entry()}]")

    for path in (lines, as_list):
        assert load_keyring(None, path, "0.0.0.0").authorize(KEY, "act").name == "shop"


def test_without_keys_only_loopback_is_served() -> None:
    assert load_keyring(None, None, "127.0.0.1").authorize(None, "admin").scopes == ALL_SCOPES
    assert load_keyring(None, None, "::1").is_open
    with pytest.raises(SystemExit, match="NACRE_API_KEYS_FILE"):
        load_keyring(None, None, "0.0.0.0")


@pytest.mark.parametrize(
    "broken", ["{", '{"name":"x"}', entry(scopes=["root"]), entry(key="plain")]
)
def test_malformed_keys_refuse_to_start_and_are_not_echoed(broken: str) -> None:
    with pytest.raises(SystemExit) as caught:
        load_keyring(broken, None, "0.0.0.0")

    assert "plain" not in str(caught.value)
