"""What a request holds from start to end: one policy at one version, whole and immutable.

    served = store.get(policy)     one reference
    ... featurize, score, choose, record with `served` only ...

A swap builds another `Served` aside and replaces the reference; a request in flight keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent_core.agent import Agent
from agent_core.box_agent import BoxAgent
from agent_core.types import Floats
from service.policies.config import PolicyConfig
from service.policies.encoding import Encoding
from service.repository import PolicyKeys
from service.tally import Tally


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Served:
    """One policy at one version: a `ServedSets` or a `ServedBox`.

    `label`: `digits@42`. `tally` is the policy's, and survives swaps.
    """

    config: PolicyConfig
    config_hash: str
    feature_schema: str
    version: int
    label: str
    encoding: Encoding
    keys: PolicyKeys
    tally: Tally


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServedSets(Served):
    """Chooses among the actions that each request brings.

    `prepared`: `[C, H]`, the scorer's half of the catalog's C actions, so that 500 ids cost one row
    gather. `is_consistent`: whether the choices of one episode share one opinion.
    """

    agent: Agent
    prepared: Floats
    is_consistent: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServedBox(Served):
    """Makes continuous actions."""

    agent: BoxAgent
