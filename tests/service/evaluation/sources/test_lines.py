"""Logs of one decision a line: good rows become steps, bad ones are told with their line and the remedy."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_core.types import ActionSet
from service.evaluation import dsjson
from service.evaluation.errors import EvaluationError
from service.evaluation.plain import BUCKETS, hashed
from service.evaluation.rows import LogRow, row_of
from service.evaluation.sources.lines import LinesSource, open_dsjson, open_jsonl
from service.evaluation.steps import LoggedStep
from service.policies.catalog import CatalogDocument
from service.policies.config import parse_policy
from service.policies.encoding import Encoding
from tests.support.policies import bandit, featured, steering

GOOD: dict[str, Any] = {
    "decision_id": "d1",
    "at": "2026-01-31T12:00:00.500Z",
    "observation": {"vector": [0.5, 1.0]},
    "actions": [{"id": "a", "vector": [1.0]}, {"id": "b", "vector": [2.0]}],
    "action_id": "b",
    "propensity": 0.25,
    "probabilities": [0.75, 0.25],
    "reward": 1.5,
}


def written(folder: Path, *rows: Any, name: str = "log.jsonl") -> Path:
    """A file with one line for each row; bytes are written as they are."""
    lines = [row if isinstance(row, bytes) else msgspec.json.encode(row) for row in rows]
    path = folder / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def encoding(document: dict[str, Any]) -> Encoding:
    return Encoding(parse_policy(document).agent, CatalogDocument(0, {}))


def only_refusal(source: LinesSource) -> str:
    """Why the first of two lines was refused; the second is good, and is read."""
    steps = list(source)
    [refused] = source.refused
    assert [step.decision_id for step in steps] == ["good"]
    assert refused.row.endswith(":1")
    assert dict(source.skipped) == {"refused": 1}
    return refused.why


# -- JSONL ----------------------------------------------------------------------------------------


def test_a_row_becomes_a_step(tmp_path: Path) -> None:
    about = {
        "cost": 0.5,
        "components": {"click": 1.5},
        "episode": {"episode_id": "e", "step": 3},
        "terminated": True,
        "model_version": "home@7",
        "target_probabilities": [0.5, 0.5],
    }
    source = open_jsonl(written(tmp_path, GOOD | about))

    [step] = source

    assert step.row == "log.jsonl:1"
    assert (step.decision_id, step.at_ms) == ("d1", 1_769_860_800_500)
    assert step.state.tolist() == [0.5, 1.0]
    assert step.actions.ids == ("a", "b")
    assert step.actions.features.tolist() == [[1.0], [2.0]]
    assert (step.action, step.propensity, step.reward, step.cost) == (1, 0.25, 1.5, 0.5)
    assert step.behaviour is not None
    assert step.behaviour.tolist() == [0.75, 0.25]
    assert step.target is not None
    assert step.target.tolist() == [0.5, 0.5]
    assert step.components == {"click": 1.5}
    assert step.place is not None
    assert (step.place.episode_id, step.place.step, step.is_terminated) == ("e", 3, True)
    assert (step.allowed, step.model_version) == (None, "home@7")
    assert (source.total, source.refused, dict(source.skipped)) == (1, [], {})


def test_a_file_can_be_read_twice_and_blank_lines_mean_nothing(tmp_path: Path) -> None:
    source = open_jsonl(written(tmp_path, GOOD, b"", GOOD | {"decision_id": "d2"}))

    assert [[step.row for step in source] for _ in range(2)] == [["log.jsonl:1", "log.jsonl:3"]] * 2


def test_a_file_may_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(msgspec.json.encode(GOOD) + b"\n"))
    source = open_jsonl(path)

    assert [step.row for step in source] == ["log.jsonl.gz:1"]
    assert source.total == 1


def test_a_truncated_file_gives_what_came_before(tmp_path: Path) -> None:
    rows = [GOOD | {"decision_id": f"d{at}", "reward": at / 7} for at in range(5000)]
    path = tmp_path / "log.jsonl.gz"
    whole = gzip.compress(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    path.write_bytes(whole[: len(whole) // 2])
    source = open_jsonl(path)

    steps = list(source)

    [refused] = source.refused
    assert 0 < len(steps) < 5000
    assert refused.row == f"log.jsonl.gz:{len(steps) + 1}"
    assert "copy it again" in refused.why
    assert source.total is None


@pytest.mark.parametrize("name", ["nothing.jsonl", "."])
def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(EvaluationError, match="not a file; check the path"):
        open_jsonl(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"propensity": None}, "/propensity: it is missing"),
        ({"propensity": 0.0}, "/propensity: 0 found"),
        ({"propensity": -0.5}, "/propensity: -0.5 found"),
        ({"propensity": 1e-300}, "/propensity: 1e-300 found"),
        ({"propensity": 1.5, "probabilities": None}, "at most 1"),
        ({"reward": None}, "/reward: it is missing"),
        ({"reward": 1e13}, "Expected `float` <= 1"),
        ({"reward": "1"}, "docs/log_formats.md"),
        ({"rewards": 1}, "unknown field `rewards`"),
        ({"decision_id": ""}, "length >= 1"),
        ({"action_id": "c"}, "'c' is not among `actions`"),
        ({"action_id": None}, "/action_id: it is missing"),
        ({"actions": ["a", "b", "a"]}, "/actions/2: the id 'a' appears earlier"),
        ({"actions": [], "probabilities": None}, "/actions: the set is empty"),
        ({"actions": None}, "send either `actions`"),
        ({"value": [1.0]}, "send either `actions`"),
        ({"actions": ["a", {"id": "b", "vector": [1.0]}]}, "/actions/1: 1 numbers found"),
        ({"probabilities": [0.7, 0.2]}, "sum to 0.9, not to 1"),
        ({"probabilities": [1.2, -0.2]}, "from 0 to 1"),
        ({"probabilities": [1.0]}, "1 found for 2 actions"),
        ({"probabilities": [0.25, 0.75]}, "gives 0.75 to the action taken"),
        ({"target_probabilities": [0.5, 0.6]}, "/target_probabilities: they sum to 1.1"),
        ({"excluded_actions": ["b"]}, "names the action that was taken"),
        ({"excluded_actions": ["c"]}, "'c' is not among"),
        ({"at": "yesterday"}, "/at: 'yesterday' is no RFC 3339 time"),
        ({"at": "2026-01-31T12:00:00"}, "with a zone"),
        ({"observation": {}}, "/observation: send exactly one"),
        ({"observation": {"vector": [1e30, 0.0]}}, "/observation/0: expected a magnitude"),
        ({"observation": {"vector": [1.0], "features": {"x": 1}}}, "send exactly one"),
        ({"observation": {"features": {"x": [[{"y": 1e300}]]}}}, "/x.0.0.y: expected a magnitude"),
    ],
)
def test_a_bad_row_is_told_and_the_next_one_is_read(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    source = open_jsonl(written(tmp_path, GOOD | change, GOOD | {"decision_id": "good"}))

    assert why in only_refusal(source)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"decision_id": "d1", "observ', "one whole JSON object"),
        (b"[]", "docs/log_formats.md"),
        (b"\xff\xfe", "one whole JSON object"),
        (b'{"decision_id": "d1", "reward": NaN}', "NaN and Infinity are no JSON"),
        (b'{"decision_id": "d1", "reward": -Infinity}', "NaN and Infinity are no JSON"),
        (b'{"decision_id": "NaN", "reward": ', "one whole JSON object"),
        (b'{"decision_id": "d1"}', "missing required field `observation`"),
    ],
)
def test_a_line_that_is_no_row_is_told(tmp_path: Path, line: bytes, why: str) -> None:
    source = open_jsonl(written(tmp_path, line, GOOD | {"decision_id": "good"}))

    assert why in only_refusal(source)


def test_a_decision_that_is_logged_twice_counts_once(tmp_path: Path) -> None:
    source = open_jsonl(written(tmp_path, GOOD, GOOD))

    assert len(list(source)) == 1
    assert dict(source.skipped) == {"repeated": 1}


def test_a_hundred_refusals_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    source = open_jsonl(written(tmp_path, *[b"?"] * 150))

    assert list(source) == []
    assert (len(source.refused), source.skipped["refused"]) == (100, 150)


def test_probabilities_that_were_rounded_are_scaled_to_1(tmp_path: Path) -> None:
    change = {"actions": ["a", "b", "c"], "probabilities": [0.333] * 3, "propensity": 0.3333}
    [step] = open_jsonl(written(tmp_path, GOOD | change))

    assert step.behaviour is not None
    assert step.behaviour.sum() == pytest.approx(1.0, abs=1e-12)
    assert step.propensity == 0.3333


def test_a_policy_says_how_rows_become_vectors(tmp_path: Path) -> None:
    shop = encoding(featured())
    change = {
        "observation": {"features": {"user": {"age": 60, "tier": "silver"}}},
        "actions": [{"id": "a", "vector": [1, 0, 0]}, {"id": "b", "vector": [0, 1, 0]}],
    }
    wrong = {"observation": {"features": {"user": {"ages": 60}}}}
    source = open_jsonl(written(tmp_path, GOOD | change | wrong, GOOD | change), shop)

    [step] = source

    assert step.state.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert step.actions.features.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert "did you mean 'age'" in source.refused[0].why


def test_continuous_actions_are_read_with_and_without_a_policy(tmp_path: Path) -> None:
    row = {name: GOOD[name] for name in ("decision_id", "observation", "reward")}
    path = written(tmp_path, row | {"value": [1.5, 0.5], "propensity": 3.5})

    for found in (encoding(steering()), None):
        [step] = open_jsonl(path, found)

        assert step.actions.features.tolist() == [[1.5, 0.5]]
        assert (step.action, step.propensity) == (0, 3.5)


@pytest.mark.parametrize(
    ("document", "change", "why"),
    [
        (steering(), {"value": [5.0, 0.5]}, "/value/0: it is outside of the box"),
        (steering(), {"actions": ["a"], "action_id": "a"}, "continuous actions; send `value`"),
        (bandit(), {"value": [1.0]}, "chooses from sets; send `actions`"),
        (None, {"value": [1.0], "probabilities": [1.0]}, "/probabilities: a continuous action"),
    ],
)
def test_the_wrong_kind_of_action_is_told(
    tmp_path: Path, document: dict[str, Any] | None, change: dict[str, Any], why: str
) -> None:
    row = {name: GOOD[name] for name in ("decision_id", "observation", "reward")}
    path = written(tmp_path, row | change | {"propensity": 0.5})
    source = open_jsonl(path, encoding(document) if document else None)

    assert list(source) == []
    assert why in source.refused[0].why


# -- named features without a policy --------------------------------------------------------------


def test_named_features_are_hashed_by_their_paths() -> None:
    """A number counts as it is; a string and a truth value are features of 1 with the value in their name."""
    nested = hashed(
        {"user": {"age": 3, "tier": "gold", "is_new": True}, "tags": ["x"], "gone": None}
    )
    flat = hashed({"user.age": 3, "user.tier=gold": 1, "user.is_new=true": 1, "tags.0=x": 1})

    assert nested.shape == (BUCKETS,)
    assert np.array_equal(nested, flat)
    assert np.abs(nested).sum() == 6.0
    assert np.array_equal(hashed({"user.age": 6}), 2 * hashed({"user.age": 3}))


# -- DSJSON ---------------------------------------------------------------------------------------

LINE: dict[str, Any] = {
    "_label_cost": -2.0,
    "_label_probability": 0.8,
    "_label_Action": 2,
    "_labelIndex": 1,
    "o": [{"v": 2.0, "EventId": "e1"}],
    "Timestamp": "2026-01-31T12:00:00.5000000Z",
    "Version": "1",
    "EventId": "e1",
    "a": [2, 1, 3],
    "c": {
        "User": {"age": 30, "tier": "gold", "_hidden": 1},
        "is_new": True,
        "_multi": [
            {"_tag": "art", "Item": {"price": 2.5}},
            {"_tag": "law", "Item": {"price": 1.5}, "Tags": ["x", "y"]},
            {"_tag": "zoo", "Item": {"_text": "big cat"}},
        ],
    },
    "p": [0.8, 0.15, 0.05],
    "VWState": {"m": "model/7"},
}


def shared(**change: Any) -> dict[str, Any]:
    return {"c": LINE["c"] | change}


def test_a_line_of_vowpal_wabbit_becomes_a_step(tmp_path: Path) -> None:
    source = open_dsjson(written(tmp_path, LINE, name="log.dsjson"))

    [step] = source

    assert step.row == "log.dsjson:1"
    assert (step.decision_id, step.at_ms) == ("e1", 1_769_860_800_500)
    assert step.actions.ids == ("art", "law", "zoo")
    assert (step.action, step.propensity, step.reward) == (1, 0.8, 2.0)
    assert step.behaviour is not None
    assert step.behaviour.tolist() == [0.15, 0.8, 0.05]
    assert step.model_version == "model/7"
    assert (
        step.state.tolist()
        == hashed({"User.age": 30, "User.tier=gold": 1, "is_new=true": 1}).tolist()
    )
    law = hashed({"Item.price": 1.5, "Tags.0=x": 1, "Tags.1=y": 1})
    assert step.actions.features[1].tolist() == law.tolist()
    assert (dict(source.skipped), source.total) == ({}, 1)


def test_features_by_namespace() -> None:
    """Objects in a list belong to one namespace, words of a text count, and dots are no paths."""
    found = dsjson.features_of(
        {
            "a": 2,
            "b.c": "x.y",
            "off": False,
            "none": None,
            "J": [{"k": 1}, {"k": 2, "deep": {"z": 1.5}}],
            "V": [0.5, None, 2],
            "T": {"_text": "one two one"},
            "_ignored": {"q": 1},
        }
    )

    assert found == {
        "a": 2.0,
        "b_c=x_y": 1.0,
        "off=false": 1.0,
        "J": {"k": 3.0, "deep": {"z": 1.5}},
        "V": {"0": 0.5, "2": 2.0},
        "T": {"one": 2.0, "two": 1.0},
    }


def test_a_policy_may_declare_the_features_of_vowpal_wabbit(tmp_path: Path) -> None:
    fields = {
        "User.age": {"type": "number"},
        "User.tier=gold": {"type": "number", "optional": True},
        "is_new=true": {"type": "number", "optional": True},
    }
    price = {"Item.price": {"type": "number", "optional": True}}
    words = {f"Item.{word}": {"type": "number", "optional": True} for word in ("big", "cat")}
    tags = {f"Tags.{tag}": {"type": "number", "optional": True} for tag in ("0=x", "1=y")}
    document = featured()
    document["agent"] |= {
        "observation": {"kind": "named", "fields": fields},
        "actions": {"kind": "named", "fields": price | words | tags},
    }

    [step] = open_dsjson(written(tmp_path, LINE), encoding(document))

    assert step.state[0] == 30.0
    assert step.actions.features.shape == (3, 10)


def test_actions_without_tags_are_named_by_their_places(tmp_path: Path) -> None:
    multi = [{"Item": {"price": price}} for price in (1, 2, 3)]
    [step] = open_dsjson(written(tmp_path, LINE | shared(_multi=multi)))

    assert step.actions.ids == ("1", "2", "3")


def test_a_list_of_numbers_alone_is_a_vector(tmp_path: Path) -> None:
    context = {"Seen": [0.5, 1], "_multi": [{"_tag": "a", "F": [1, 2]}, {"_tag": "b", "F": [3, 4]}]}
    change = {"c": context, "a": [2, 1], "p": [0.8, 0.2]}
    [step] = open_dsjson(written(tmp_path, LINE | change))

    assert step.state.tolist() == [0.5, 1.0]
    assert step.actions.features.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_probabilities_of_some_actions_are_not_those_of_all(tmp_path: Path) -> None:
    [step] = open_dsjson(written(tmp_path, LINE | {"a": [2], "p": [0.8]}))

    assert (step.action, step.behaviour) == (1, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"_skipLearn": True}, "skip_learn"),
        ({"_deferred": True}, "not_activated"),
        ({"DeferredAction": True}, "not_activated"),
    ],
)
def test_what_was_never_shown_is_left_out(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    source = open_dsjson(written(tmp_path, LINE | change))

    assert list(source) == []
    assert dict(source.skipped) == {reason: 1}


@pytest.mark.parametrize("shown", [{"ActionTaken": True}, {"DeferredAction": False}])
def test_a_deferred_action_that_was_taken_counts(tmp_path: Path, shown: dict[str, Any]) -> None:
    change = {"DeferredAction": True, "o": [shown]}

    assert len(list(open_dsjson(written(tmp_path, LINE | change)))) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"_label_cost": None}, "/_label_cost: it is missing"),
        ({"_label_cost": "NaN"}, "got `str`"),
        ({"_label_cost": 1e300}, "<= 1000000000000.0"),
        ({"_label_probability": None}, "/_label_probability: it is missing"),
        ({"_label_probability": 0}, "/propensity: 0 found"),
        ({"_label_probability": 0.5}, "gives 0.8 to the action taken"),
        ({"_label_Action": 1}, "/_labelIndex: it means action 2"),
        ({"a": [3, 2, 1]}, "/a: it means action 3"),
        ({"_label_Action": 4, "_labelIndex": 3, "a": [4]}, "means action 4 of 3"),
        ({"_label_Action": None, "_labelIndex": None, "a": []}, "counted from 1"),
        ({"a": [2, 2, 3]}, "/a: it does not name each of the 3 actions once"),
        ({"p": [0.8, 0.1, 0.05]}, "/p: they do not sum to 1"),
        ({"c": {}}, "/c/_multi: the list of available actions is missing"),
        ({"c": {"_multi": [1]}}, "/c/_multi"),
        ({"_outcomes": [{"_a": [1]}]}, "several slots"),
        ({"pdrop": 1.0}, "/pdrop: 1 found"),
        ({"Timestamp": "now"}, "no RFC 3339 time"),
        (shared(_multi=[{"__aid": 1}]), "expand them"),
    ],
)
def test_a_malformed_line_is_told_and_the_next_one_is_read(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    path = written(tmp_path, LINE | change, LINE | {"EventId": "good"}, name="log.dsjson")

    assert why in only_refusal(open_dsjson(path))


def test_lines_that_stand_for_different_numbers_of_decisions_are_not_mixed(tmp_path: Path) -> None:
    lines = [LINE | {"EventId": f"e{at}", "pdrop": drop} for at, drop in enumerate((0.5, 0.5, 0))]
    source = open_dsjson(written(tmp_path, *lines))

    assert [[step.decision_id for step in source] for _ in range(2)] == [["e0", "e1"]] * 2
    assert "put those of each `pdrop` into a file of its own" in source.refused[0].why


def test_a_name_that_is_a_namespace_and_a_feature_is_refused(tmp_path: Path) -> None:
    change = shared(**{"User.x": 1, "User_x": {"y": 1}})
    source = open_dsjson(written(tmp_path, LINE | change))

    assert list(source) == []
    assert "'User_x' is a namespace and a feature" in source.refused[0].why


# -- anything -------------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["_multi", "_text"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("good", "identity", "opened"),
    [(GOOD, "decision_id", open_jsonl), (LINE, "EventId", open_dsjson)],
)
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_line_says_the_next_one_is_read(
    tmp_path: Path,
    good: dict[str, Any],
    identity: str,
    opened: Callable[[Path], LinesSource],
    data: st.DataObject,
) -> None:
    change = data.draw(st.dictionaries(st.sampled_from(sorted(good)), _json, max_size=3))
    path = written(tmp_path, good | change, good | {identity: "good"})
    source = opened(path)

    steps = list(source)

    assert [step.decision_id for step in steps][-1] == "good"
    assert len(steps) + sum(source.skipped.values()) == 2
    assert all(np.isfinite(step.reward) and 0 < step.propensity <= 1 for step in steps)


@pytest.mark.parametrize(
    ("value", "why"),
    [(b"[" * 5000 + b"]" * 5000, "recursion"), (b"1" + b"0" * 400, "/c/age: expected a magnitude")],
)
def test_values_without_measure_are_told(tmp_path: Path, value: bytes, why: str) -> None:
    line = msgspec.json.encode(LINE).replace(b'"age":30', b'"age":' + value)
    path = written(tmp_path, line, LINE | {"EventId": "good"})

    assert why in only_refusal(open_dsjson(path)).lower()


# -- back -----------------------------------------------------------------------------------------


def test_a_row_without_features_goes_to_vowpal_wabbit_and_back() -> None:
    actions = ActionSet(("a", "b"), np.empty((2, 0), np.float32))
    step = LoggedStep("r", "d1", 0, np.empty(0, np.float32), actions, 1, 0.5, 3.0)

    line = dsjson.line_of(row_of(step))

    row = dsjson.DsjsonReader().row(line)
    assert isinstance(row, LogRow)
    assert [one if isinstance(one, str) else one.id for one in row.actions or ()] == ["a", "b"]
    assert (row.action_id, row.reward, row.probabilities) == ("b", 3.0, None)


# -- the page on formats ----------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "opened"), [("jsonl", open_jsonl), ("dsjson", open_dsjson)])
def test_the_examples_of_the_documentation_can_be_read(
    tmp_path: Path, form: str, opened: Callable[[Path], LinesSource]
) -> None:
    page = Path("docs/log_formats.md").read_text("utf-8")
    [block] = re.findall(rf"```{form}\n(.*?)```", page, flags=re.S)
    path = tmp_path / "log"
    path.write_text(block)
    source = opened(path)

    steps = list(source)

    assert source.refused == []
    assert len(steps) == block.count("\n")


def test_every_field_of_a_row_is_documented() -> None:
    page = Path("docs/log_formats.md").read_text("utf-8")

    assert [name for name in LogRow.__struct_fields__ if f"`{name}`" not in page] == []
