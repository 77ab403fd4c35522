"""Policies as servers hold them, without Redis: versions that differ, and who decides for whom."""

from __future__ import annotations

from typing import Any

import torch

from agent_core.snapshot import PolicySnapshot
from service.policies.catalog import CatalogDocument
from service.policies.config import PolicyConfig, parse_policy
from service.policies.served import Served
from service.policies.store import assemble
from service.repository import PolicyKeys


def neural(policy: str = "home", **changes: Any) -> dict[str, Any]:
    """A policy whose versions differ by their seeds, and whose probabilities are never 0."""
    document: dict[str, Any] = {
        "policy": policy,
        "agent": {
            "observation": {"kind": "vector", "dim": 2},
            "policy_learner": {"kind": "neural", "hidden": [8]},
            "exploration": {"kind": "boltzmann", "temperature": 0.05},
            "action_representation": {"kind": "one_hot", "ids": ["a", "b", "c"]},
            "replay": {"kind": "fifo", "capacity": 100},
        },
        "reward": {"wait_s": 60},
    }
    return document | changes


def snapshot_of(config: PolicyConfig, version: int) -> PolicySnapshot:
    """A version with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(version)
        policy = config.agent.policy_learner.build_policy(config.agent.spec)
    return PolicySnapshot.of(
        policy,
        policy_name=config.policy,
        model_version=version,
        config=config.agent,
        created_at="2026-01-01T00:00:00Z",
    )


def served(document: dict[str, Any], version: int) -> Served:
    """One version of the policy that `document` declares."""
    config = parse_policy(document)
    keys = PolicyKeys(config.policy)
    return assemble(config, snapshot_of(config, version), version, CatalogDocument(0, {}), keys)
