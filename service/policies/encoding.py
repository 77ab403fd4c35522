"""From the wire to the vectors that policies see: one code path for serving, joining and replay.

An `Encoding` belongs to one policy configuration and one catalog revision, and is immutable. What it
makes is named by the policy's `feature_schema`, so that a learner refuses what another schema made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from agent_core.config import AgentConfig
from agent_core.errors import FeatureError
from agent_core.types import ActionSet, Floats
from service.decisions.schemas import ActionItem, Actions, ActionTable, Observation
from service.errors import InvalidError
from service.policies.catalog import CatalogDocument
from service.policies.history import History

Rows: TypeAlias = npt.NDArray[np.intp]


CONTINUOUS_ID: Final = "box"
"""Stands in for the id of a continuous action, which is a set of one."""


class Encoding:
    """Featurizes observations and actions. `history`: None where the policy remembers nothing.

    Raises:
        FeatureError: an action of the catalog does not fit the declared features; `pointer` names it.
    """

    def __init__(self, config: AgentConfig, document: CatalogDocument) -> None:
        self.max_actions = config.max_actions
        self.catalog_revision = document.revision
        self._observation = config.observation_featurizer()
        self._action = config.action_featurizer()
        self._representation = config.representation()
        module = config.history_module()
        self.history = History(module) if len(module.initial_carry()) else None
        self.box = config.box
        self.catalog = self._encode_catalog(document)
        rows: dict[object, int] = {action_id: row for row, action_id in enumerate(self.catalog.ids)}
        self._row_of = rows.__getitem__

    def _encode_catalog(self, document: CatalogDocument) -> ActionSet:
        ids = tuple(document.actions)
        features = np.zeros((len(ids), self._action.dim), np.float32)
        for row, (action_id, action) in enumerate(document.actions.items()):
            try:
                features[row] = self._encode_action(action.vector, action.features)
            except FeatureError as error:
                raise FeatureError(
                    f"/{action_id}{error.pointer}", error.code, error.detail
                ) from None
        return ActionSet(ids, self._representation.encode(ids, features))

    # -- observations -------------------------------------------------------------------------

    def observation(self, observation: Observation, pointer: str = "/observation") -> Floats:
        """`[O]`: the featurized observation, which is the state where there is no history.

        Raises:
            InvalidError: it has both forms or none, or does not fit the declared features.
        """
        vector, features = observation.vector, observation.features
        try:
            if vector is not None and features is None:
                return self._observation.encode_vector(vector)
            if features is not None and vector is None:
                return self._observation.encode_named(features)
        except FeatureError as error:
            field = "vector" if vector is not None else "features"
            raise InvalidError(
                f"{pointer}/{field}{error.pointer}", error.detail, field_code=error.code
            ) from None
        raise InvalidError(
            pointer, "send exactly one of `vector` and `features`", field_code="one_form"
        )

    def state(
        self, observation: Observation, carry: bytes = b"", pointer: str = "/observation"
    ) -> Floats:
        """`[S]`: what the policy sees. `carry`: the history before it, b"" at the beginning.

        Raises:
            InvalidError: the observation is wrong, see `observation`.
            ValueError: the carry belongs to another history.
        """
        seen = self.observation(observation, pointer)
        return seen if self.history is None else self.history.state(carry, seen)

    def carry_after(self, carry: bytes, observation: Observation, action: Floats) -> bytes:
        """The carry once `action` `[D]` was taken on the observation; b"" without a history.

        Raises:
            InvalidError, ValueError: as `state`.
        """
        if self.history is None:
            return b""
        return self.history.after(carry, self.observation(observation), action)

    # -- actions ------------------------------------------------------------------------------

    def continuous(self, value: Sequence[float], pointer: str) -> Floats:
        """`[D]`: one action of the box.

        Raises:
            InvalidError: it has another length, or leaves the box.
        """
        assert self.box is not None
        try:
            action = self._action.encode_vector(value)
        except FeatureError as error:
            where = f"{pointer}{error.pointer}"
            raise InvalidError(where, error.detail, field_code=error.code) from None
        low, high = np.array(self.box.low, np.float32), np.array(self.box.high, np.float32)
        outside = np.flatnonzero((action < low) | (action > high))
        if len(outside):
            at = outside[0]
            detail = f"it is outside of the box, {self.box.low[at]:g} to {self.box.high[at]:g}"
            raise InvalidError(f"{pointer}/{at}", detail, field_code="outside")
        return action

    def actions(self, actions: Actions, pointer: str = "/actions") -> tuple[ActionSet, Rows | None]:
        """The action set in the caller's order, and its catalog rows if it came from the catalog.

        Raises:
            InvalidError: an id is unknown or twice, a feature is wrong, or there are too many.
        """
        if isinstance(actions, ActionTable):
            self._refuse_too_many(actions.ids, pointer)
            return self._from_table(_distinct(actions.ids, pointer), actions, pointer), None
        self._refuse_too_many(actions, pointer)
        try:
            rows = np.fromiter(map(self._row_of, actions), np.intp, len(actions))
        except (KeyError, TypeError):  # not all of them are ids of the catalog
            return self._from_elsewhere(actions, pointer), None
        ids = _distinct(cast("list[str]", actions), pointer)
        return ActionSet(ids, self.catalog.features.take(rows, 0)), rows

    def _refuse_too_many(self, given: Sequence[object], pointer: str) -> None:
        if len(given) > self.max_actions:
            detail = f"{len(given)} actions given, at most {self.max_actions} allowed; send fewer or raise `agent.max_actions`"
            raise InvalidError(pointer, detail, "TooManyActions", "too_many")

    def _from_elsewhere(self, given: Sequence[str | ActionItem], pointer: str) -> ActionSet:
        if not set(map(type, given)) <= {str}:
            return self._from_items(given, pointer)
        ids = _distinct(cast("Sequence[str]", given), pointer)
        if self._action.dim:
            raise self._unknown(ids, pointer)
        features = np.empty((len(ids), 0), np.float32)
        return ActionSet(ids, self._representation.encode(ids, features))

    def _from_items(self, items: Sequence[str | ActionItem], pointer: str) -> ActionSet:
        ids = _distinct([item if isinstance(item, str) else item.id for item in items], pointer)
        features = self._from_vectors(items)
        if features is None:
            features = self._one_by_one(items, pointer)
        return ActionSet(ids, self._representation.encode(ids, features))

    def _from_vectors(self, items: Sequence[str | ActionItem]) -> Floats | None:
        """`[A, F]` in one conversion; None where an item has no list of numbers, or a wrong one."""
        vectors = [
            item.vector for item in items if isinstance(item, ActionItem) and item.features is None
        ]
        if len(vectors) < len(items) or set(map(type, vectors)) != {list}:
            return None
        try:
            return self._action.encode_matrix(cast("list[list[float]]", vectors), len(vectors))
        except FeatureError:
            return None  # the slower way names the field

    def _one_by_one(self, items: Sequence[str | ActionItem], pointer: str) -> Floats:
        features = np.empty((len(items), self._action.dim), np.float32)
        for at, item in enumerate(items):
            try:
                if isinstance(item, str):
                    features[at] = self._encode_action(None, None)
                else:
                    features[at] = self._encode_action(item.vector, item.features)
            except FeatureError as error:
                raise InvalidError(
                    f"{pointer}/{at}{error.pointer}", error.detail, field_code=error.code
                ) from None
        return features

    def _from_table(self, ids: tuple[str, ...], table: ActionTable, pointer: str) -> ActionSet:
        try:
            features = self._action.encode_matrix(table.vectors, len(ids))
        except FeatureError as error:
            where = f"{pointer}/vectors{error.pointer}"
            raise InvalidError(where, error.detail, field_code=error.code) from None
        return ActionSet(ids, self._representation.encode(ids, features))

    def _unknown(self, ids: Sequence[str], pointer: str) -> InvalidError:
        known = set(self.catalog.ids)
        at = next(at for at, action_id in enumerate(ids) if action_id not in known)
        detail = (
            "the id is not in the policy's catalog; add it, or send the action with its features"
        )
        return InvalidError(f"{pointer}/{at}", detail, "UnknownAction", "unknown_action")

    def _encode_action(
        self, vector: Sequence[float] | bytes | None, features: Mapping[str, object] | None
    ) -> Floats:
        if vector is not None and features is None:
            return self._action.encode_vector(vector)
        if features is not None and vector is None:
            return self._action.encode_named(features)
        if vector is None and self._action.dim == 0:
            return np.zeros(0, np.float32)
        raise FeatureError("", "one_form", "send exactly one of `vector` and `features`")


def set_of_one(action: Floats) -> ActionSet:
    """The set that a continuous action `[D]` is to learners and to the replay."""
    return ActionSet((CONTINUOUS_ID,), action.reshape(1, -1))


def _distinct(given: Sequence[str], pointer: str) -> tuple[str, ...]:
    ids = tuple(given)
    if len(set(ids)) == len(ids):
        return ids
    first = {action_id: at for at, action_id in reversed(list(enumerate(ids)))}
    at = next(at for at, action_id in enumerate(ids) if first[action_id] != at)
    detail = "the id appears earlier in the list; every action needs its own"
    raise InvalidError(f"{pointer}/{at}", detail, "DuplicateAction", "duplicate")
