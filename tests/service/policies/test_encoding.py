"""Action sets from the wire: catalog rows, inline features, tables, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent_core.config import AgentConfig
from service.decisions.schemas import ActionItem, ActionTable
from service.errors import InvalidError
from service.policies.catalog import CatalogAction, CatalogDocument
from service.policies.encoding import Encoding
from tests.support.policies import bandit, featured

_CATALOG = CatalogDocument(
    7, {"a": CatalogAction(vector=[1, 2, 3]), "b": CatalogAction(vector=[4, 5, 6])}
)


def _featured() -> Encoding:
    agent = featured()["agent"] | {"max_actions": 50}
    return Encoding(AgentConfig.model_validate(agent), _CATALOG)


def _plain() -> Encoding:
    return Encoding(AgentConfig.model_validate(bandit()["agent"]), CatalogDocument(0, {}))


def _refused(actions: Any) -> tuple[str, str]:
    with pytest.raises(InvalidError) as caught:
        _featured().actions(actions)
    (error,) = caught.value.errors
    return error.pointer, error.code


def test_ids_of_the_catalog_keep_the_callers_order() -> None:
    actions, rows = _featured().actions(["b", "a"])

    assert actions.ids == ("b", "a")
    assert actions.features.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert rows is not None
    assert rows.tolist() == [1, 0]


def test_no_action_is_an_empty_set() -> None:
    assert _featured().actions([])[0].features.shape == (0, 3)
    assert _plain().actions([])[0].ids == ()


@pytest.mark.parametrize("vector", [[7.0, 8.0, 9.0], np.array([7, 8, 9], "<f4").tobytes()])
def test_features_in_the_request_come_from_no_catalog(vector: list[float] | bytes) -> None:
    actions, rows = _featured().actions([ActionItem(id="a", vector=vector)])

    assert actions.ids == ("a",)
    assert actions.features.tolist() == [[7, 8, 9]]
    assert rows is None


def test_a_table_comes_row_by_row() -> None:
    table = ActionTable(ids=["x", "a"], vectors=[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])

    actions, rows = _featured().actions(table)

    assert actions.ids == ("x", "a")
    assert actions.features.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert rows is None


def test_ids_alone_are_enough_where_no_features_are_declared() -> None:
    actions, rows = _plain().actions(["b", "never seen"])

    # One slot each for a, b and c, and one for every other id.
    assert actions.features.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert rows is None
    from_items, _ = _plain().actions([ActionItem(id="b"), "never seen"])
    assert from_items.features.tolist() == actions.features.tolist()


@pytest.mark.parametrize(
    ("actions", "pointer", "code"),
    [
        (["a", "b", "a"], "/actions/2", "duplicate"),
        (["x", "b", "x"], "/actions/2", "duplicate"),
        (["a", "x", "y"], "/actions/1", "unknown_action"),
        (["a"] * 51, "/actions", "too_many"),
        (ActionTable(ids=["a", "a"], vectors=[]), "/actions/1", "duplicate"),
        (ActionTable(ids=["a"] * 51, vectors=b""), "/actions", "too_many"),
        (ActionTable(ids=["a"], vectors=[[1.0]]), "/actions/vectors/0", "wrong_length"),
        (["a", ActionItem(id="a", vector=[1.0, 2.0, 3.0])], "/actions/1", "duplicate"),
        (["a", ActionItem(id="x", vector=[1.0, 2.0, 3.0])], "/actions/0", "one_form"),
        ([ActionItem(id="x", vector=[1.0, 2.0])], "/actions/0", "wrong_length"),
        ([ActionItem(id="x", features={"size": 1})], "/actions/0", "wrong_kind"),
    ],
)
def test_a_bad_action_set_is_refused_at_the_place_that_is_wrong(
    actions: Any, pointer: str, code: str
) -> None:
    assert _refused(actions) == (pointer, code)


def test_a_set_beyond_the_maximum_is_refused_with_how_many_there_may_be() -> None:
    fits = _plain().actions([f"a{number}" for number in range(50)])

    with pytest.raises(InvalidError) as caught:
        _plain().actions([f"a{number}" for number in range(51)])

    assert len(fits[0]) == 50
    (error,) = caught.value.errors
    assert error.detail == (
        "51 actions given, at most 50 allowed; send fewer or raise `agent.max_actions`"
    )
