"""The action catalog of a policy: actions known to the server, so that a request sends only ids.

A catalog is immutable; a change makes a new revision, and ids that were removed are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from service.errors import FieldError, InvalidError, ServiceError


class CatalogAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One action as it was put: features by name or as a vector, or neither if ids are enough."""

    vector: list[float] | None = None
    features: dict[str, Any] | None = None


class CatalogDocument(msgspec.Struct, frozen=True):
    """A catalog as it is stored."""

    revision: int
    actions: dict[str, CatalogAction]
    removed: list[str] = []


class CatalogChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """PUT /v1/policies/{policy}/actions: `put` adds or replaces, `remove` removes.

    A removed id is refused in `put` unless it is also in `revive`: its old rewards belong to it.
    """

    put: dict[str, CatalogAction] = {}
    remove: list[str] = []
    revive: list[str] = []


def changed(document: CatalogDocument, change: CatalogChange) -> CatalogDocument:
    """The next revision.

    Raises:
        ServiceError: a removed id would be reused, or an id to remove is not there.
    """
    _check(document, change)
    gone = set(change.remove)
    actions: Mapping[str, CatalogAction] = {**document.actions, **change.put}
    kept = {action_id: action for action_id, action in actions.items() if action_id not in gone}
    removed = sorted((set(document.removed) | gone) - set(change.put))
    return CatalogDocument(document.revision + 1, kept, removed)


def _check(document: CatalogDocument, change: CatalogChange) -> None:
    reused = sorted(set(change.put) & set(document.removed) - set(change.revive))
    if reused:
        detail = "the id was removed before; choose a new one, or name it in `revive` to mean the same action"
        errors = [FieldError(f"/put/{action_id}", "removed_before", detail) for action_id in reused]
        raise ServiceError("PolicyChange", f"{len(reused)} removed ids would be reused", errors)
    for at, action_id in enumerate(change.remove):
        if action_id not in document.actions or action_id in change.put:
            raise InvalidError(
                f"/remove/{at}", "the id is not in the catalog", "UnknownAction", "unknown_action"
            )
