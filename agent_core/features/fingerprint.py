"""Short names for configurations: the same content has the same name in every process."""

from __future__ import annotations

import hashlib
import json

from agent_core.interfaces import ActionRepresentationConfig, HistoryConfig, ModuleConfig

FEATURIZER_VERSION = 1
"""Grows when the same config begins to encode the same input to other numbers."""

_DIGITS = 12


def fingerprint(prefix: str, *parts: ModuleConfig | int) -> str:
    """`prefix`, a colon and 12 hex digits of SHA-256 over the canonical JSON of `parts`.

    Defaults count as if they were written; the order of keys does not count.
    """
    plain = [p.model_dump(mode="json") if isinstance(p, ModuleConfig) else p for p in parts]
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return f"{prefix}:{hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]}"


def schema_fingerprint(
    observation: ModuleConfig,
    actions: ModuleConfig,
    representation: ActionRepresentationConfig,
    history: HistoryConfig | None = None,
) -> str:
    """ "fs:" and 12 hex digits: two agents with the same fingerprint see the same vectors.

    `history`: None where there is none, which names agents as they were named before there was any.
    """
    seen = () if history is None else (history,)
    return fingerprint("fs", FEATURIZER_VERSION, observation, actions, representation, *seen)
