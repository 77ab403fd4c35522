"""The action catalog of a policy: actions known to the server, so that a request sends only ids.

A catalog is immutable; a change makes a new revision. `prepared` is the action half of the scores for
the version that serves, computed once per catalog and version, so that 500 ids cost one row gather.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from agent_core.agent import Agent
from agent_core.errors import FeatureError
from agent_core.types import ActionSet, Floats


class CatalogAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One action as it was put: features by name or as a vector, or neither if ids are enough."""

    vector: list[float] | None = None
    features: dict[str, Any] | None = None


class CatalogDocument(msgspec.Struct, frozen=True):
    """A catalog as it is stored. `removed` ids are remembered, so that none is silently reused."""

    revision: int
    actions: dict[str, CatalogAction]
    removed: list[str] = []


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """Ids to rows of one encoded table."""

    revision: int
    rows: Mapping[str, int]
    ids: tuple[str, ...]
    encoded: Floats
    prepared: Floats

    def take(self, ids: Sequence[str]) -> tuple[ActionSet, Floats]:
        """The action set of `ids` and its prepared half.

        Raises:
            KeyError: an id is not in the catalog.
        """
        row = self.rows
        index = [row[i] for i in ids]
        return ActionSet(tuple(ids), self.encoded.take(index, 0)), self.prepared.take(index, 0)


def build_catalog(document: CatalogDocument, agent: Agent) -> Catalog:
    """Encodes and prepares every action of `document` for `agent`."""
    ids = tuple(document.actions)
    features = np.zeros((len(ids), agent.action_featurizer.dim), np.float32)
    for row, (action_id, action) in enumerate(document.actions.items()):
        try:
            features[row] = encode_action(agent, action.vector, action.features)
        except FeatureError as error:
            pointer = f"/{action_id}{error.pointer}"
            raise FeatureError(pointer, error.code, error.detail) from None
    encoded = agent.representation.encode(ids, features)
    prepared = agent.prepare(ActionSet(ids, encoded))
    return Catalog(document.revision, {a: i for i, a in enumerate(ids)}, ids, encoded, prepared)


def encode_action(
    agent: Agent, vector: Sequence[float] | bytes | None, features: Mapping[str, Any] | None
) -> Floats:
    """`[F]`: one action's own features.

    Raises:
        FeatureError: it has features in a form that the policy does not declare, or none.
    """
    featurizer = agent.action_featurizer
    if vector is not None and features is None:
        return featurizer.encode_vector(vector)
    if features is not None and vector is None:
        return featurizer.encode_named(features)
    if vector is None and featurizer.dim == 0:
        return np.zeros(0, np.float32)
    raise FeatureError("", "one_form", "send exactly one of `vector` and `features`")
