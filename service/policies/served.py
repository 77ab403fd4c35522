"""What a request holds from start to end: one policy at one version, whole and immutable.

    served = store.get(policy)     one reference
    ... featurize, score, choose, record with `served` only ...

A swap builds another `Served` aside and replaces the reference; a request in flight keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent_core.agent import Agent
from agent_core.types import Floats
from service.policies.config import PolicyConfig
from service.policies.encoding import Encoding
from service.repository import PolicyKeys
from service.tally import Tally


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One policy at one version.

    `label`: `digits@42`. `prepared`: `[C, H]`, the scorer's half of the catalog's C actions, so that
    500 ids cost one row gather. `tally` is the policy's, and survives swaps.
    """

    config: PolicyConfig
    config_hash: str
    feature_schema: str
    agent: Agent
    version: int
    label: str
    encoding: Encoding
    prepared: Floats
    keys: PolicyKeys
    tally: Tally
