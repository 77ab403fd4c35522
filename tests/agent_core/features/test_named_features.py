"""Named features: what each field type writes, and what is refused where."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_core.errors import FeatureError
from agent_core.features.featurizer import Featurizer
from agent_core.features.named import NamedFeaturesConfig


def _featurizer(**fields: dict[str, Any]) -> Featurizer:
    declared = {name.replace("__", "."): field for name, field in fields.items()}
    return Featurizer(NamedFeaturesConfig.model_validate({"fields": declared}))


def _refused(featurizer: Featurizer, values: Any) -> tuple[str, str]:
    with pytest.raises(FeatureError) as caught:
        featurizer.encode_named(values)
    return caught.value.pointer, caught.value.code


def test_a_number_is_standardized() -> None:
    age = _featurizer(age={"type": "number", "mean": 40, "scale": 10})

    # (55 - 40) / 10 = 1.5
    assert age.encode_named({"age": 55}).tolist() == [1.5]


def test_a_category_is_one_hot_with_a_last_slot_for_others() -> None:
    plan = _featurizer(plan={"type": "category", "values": ["free", "paid", 7]})

    assert plan.dim == 4
    assert plan.encode_named({"plan": "paid"}).tolist() == [0, 1, 0, 0]
    assert plan.encode_named({"plan": 7}).tolist() == [0, 0, 1, 0]
    assert plan.encode_named({"plan": "7"}).tolist() == [0, 0, 0, 1]


def test_a_flag_is_one_or_zero() -> None:
    is_new = _featurizer(is_new={"type": "flag"})

    assert is_new.encode_named({"is_new": True}).tolist() == [1]
    assert is_new.encode_named({"is_new": False}).tolist() == [0]


def test_hashing_adds_a_sign_for_each_token() -> None:
    tags = _featurizer(tags={"type": "hashed", "buckets": 64})

    one, two = tags.encode_named({"tags": "a"}), tags.encode_named({"tags": ["b"]})
    both = tags.encode_named({"tags": ["a", "b"]})

    assert np.abs(one).sum() == 1.0
    assert np.array_equal(both, one + two)
    assert not tags.encode_named({"tags": []}).any()


def test_signs_of_hashed_tokens_balance() -> None:
    tags = _featurizer(tags={"type": "hashed", "buckets": 1})

    total = tags.encode_named({"tags": [str(i) for i in range(1000)]})

    # A sum of 1000 fair signs has standard deviation 31.6.
    assert abs(total[0]) < 4 * 31.6


def test_a_number_in_a_hashed_field_is_an_identifier() -> None:
    item = _featurizer(item={"type": "hashed", "buckets": 1024})

    as_integer = item.encode_named({"item": 7})

    assert np.array_equal(as_integer, item.encode_named({"item": 7.0}))
    assert np.array_equal(as_integer, item.encode_named({"item": "7"}))
    assert not np.array_equal(as_integer, item.encode_named({"item": 7.5}))


def test_hashing_is_the_same_in_another_process() -> None:
    program = (
        "from agent_core.features.featurizer import Featurizer\n"
        "from agent_core.features.named import NamedFeaturesConfig\n"
        "fields = {'x': {'type': 'hashed', 'buckets': 1000}}\n"
        "featurizer = Featurizer(NamedFeaturesConfig.model_validate({'fields': fields}))\n"
        "print(featurizer.encode_named({'x': 'überall'}).nonzero()[0][0])"
    )
    here = _featurizer(x={"type": "hashed", "buckets": 1000}).encode_named({"x": "überall"})

    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert int(there.stdout) == here.nonzero()[0][0]


def test_nested_names_are_dotted_paths_in_sorted_order() -> None:
    featurizer = _featurizer(
        user__plan={"type": "category", "values": ["a"]},
        user__age={"type": "number"},
        hour={"type": "number"},
    )

    state = featurizer.encode_named({"user": {"plan": "a", "age": 3}, "hour": 9})

    # hour, user.age, user.plan (two slots)
    assert state.tolist() == [9, 3, 1, 0]


def test_the_order_of_declaration_and_of_sending_does_not_matter() -> None:
    one = _featurizer(a={"type": "number"}, b={"type": "number"})
    other = _featurizer(b={"type": "number"}, a={"type": "number"})

    assert one.encode_named({"a": 1, "b": 2}).tolist() == [1, 2]
    assert other.encode_named({"b": 2, "a": 1}).tolist() == [1, 2]


def test_an_optional_number_or_flag_has_a_slot_that_says_missing() -> None:
    featurizer = _featurizer(
        age={"type": "number", "mean": 40, "optional": True},
        is_new={"type": "flag", "optional": True},
    )

    assert featurizer.encode_named({}).tolist() == [0, 1, 0, 1]
    assert featurizer.encode_named({"age": None, "is_new": False}).tolist() == [0, 1, 0, 0]
    assert featurizer.encode_named({"age": 40}).tolist() == [0, 0, 0, 1]


def test_an_optional_category_or_hashed_field_is_all_zeros_when_missing() -> None:
    featurizer = _featurizer(
        plan={"type": "category", "values": ["a"], "optional": True},
        tags={"type": "hashed", "buckets": 3, "optional": True},
    )

    assert featurizer.encode_named({}).tolist() == [0] * 5


def test_one_encoding_does_not_leak_into_the_next() -> None:
    featurizer = _featurizer(age={"type": "number", "optional": True})

    featurizer.encode_named({"age": 5})

    assert featurizer.encode_named({}).tolist() == [0, 1]


_USER = _featurizer(
    user__age={"type": "number"},
    user__plan={"type": "category", "values": ["free"], "optional": True},
    user__tags={"type": "hashed", "buckets": 4, "optional": True},
    user__is_new={"type": "flag", "optional": True},
)


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ({}, "/user/age", "missing_feature"),
        ({"user": None}, "/user/age", "missing_feature"),
        ({"user": {"age": None}}, "/user/age", "missing_feature"),
        ({"user": 5}, "/user", "wrong_type"),
        ({"user": {"age": {"years": 5}}}, "/user/age", "wrong_type"),
        ({"user": {"age": True}}, "/user/age", "wrong_type"),
        ({"user": {"age": "5"}}, "/user/age", "wrong_type"),
        ({"user": {"age": math.nan}}, "/user/age", "not_finite"),
        ({"user": {"age": 1e39}}, "/user/age", "too_large"),
        ({"user": {"age": 10**400}}, "/user/age", "too_large"),
        ({"user": {"age": 1, "plan": True}}, "/user/plan", "wrong_type"),
        ({"user": {"age": 1, "plan": 1.0}}, "/user/plan", "wrong_type"),
        ({"user": {"age": 1, "plan": ["free"]}}, "/user/plan", "wrong_type"),
        ({"user": {"age": 1, "tags": ["a", True]}}, "/user/tags/1", "wrong_type"),
        ({"user": {"age": 1, "tags": [math.inf]}}, "/user/tags/0", "not_finite"),
        ({"user": {"age": 1, "tags": 10**5000}}, "/user/tags", "too_large"),
        ({"user": {"age": 1, "is_new": 1}}, "/user/is_new", "wrong_type"),
        ({"user": {"age": 1}, "other": None}, "/other", "unknown_feature"),
        ({"user": {"age": 1, "a/b~c": 1}}, "/user/a~1b~0c", "unknown_feature"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_pointer(
    values: dict[str, Any], pointer: str, code: str
) -> None:
    assert _refused(_USER, values) == (pointer, code)


def test_a_small_scale_cannot_smuggle_an_infinity_in() -> None:
    tiny = _featurizer(x={"type": "number", "scale": 1e-30})

    assert _refused(tiny, {"x": 1.0}) == ("/x", "too_large")


def test_a_misspelt_name_gets_its_near_miss() -> None:
    with pytest.raises(FeatureError, match=r"/user/agee: is not declared; did you mean 'age'\?"):
        _USER.encode_named({"user": {"agee": 5}})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["user", "age", "plan", "tags", "is_new", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["user", "age"]), _json, max_size=2))
def test_any_json_is_either_finite_numbers_or_refused(values: dict[str, Any]) -> None:
    with suppress(FeatureError):
        state = _USER.encode_named(values)

        assert state.shape == (_USER.dim,)
        assert np.isfinite(state).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "at least 1"),
        ({"a..b": {"type": "flag"}}, "empty part"),
        ({"a": {"type": "flag"}, "a.b": {"type": "flag"}}, "holds 'a.b'"),
        ({"a": {"type": "category", "values": ["x", "x"]}}, "listed twice"),
        ({"a": {"type": "number", "scale": 0}}, "greater than 0"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NamedFeaturesConfig.model_validate({"fields": fields})
