"""Plain vectors: exact, strict, and quiet about overflow."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.errors import FeatureError
from agent_core.features.featurizer import Featurizer
from agent_core.features.named import NamedFeaturesConfig
from agent_core.features.plain import NoFeaturesConfig, VectorFeaturesConfig

_THREE = Featurizer(VectorFeaturesConfig(dim=3))
_ANY_FLOAT = st.floats(width=32)


def _refused(values: Any) -> tuple[str, str]:
    with pytest.raises(FeatureError) as caught:
        _THREE.encode_vector(values)
    return caught.value.pointer, caught.value.code


def test_a_list_becomes_float32() -> None:
    state = _THREE.encode_vector([1, 0.5, -2.25])

    assert state.dtype == np.float32
    assert state.tolist() == [1.0, 0.5, -2.25]


def test_bytes_are_little_endian_float32() -> None:
    state = _THREE.encode_vector(struct.pack("<3f", 1.0, 0.5, -2.25))

    assert state.tolist() == [1.0, 0.5, -2.25]


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3))
def test_bytes_and_list_of_the_same_numbers_encode_alike(numbers: list[float]) -> None:
    packed = struct.pack("<3f", *numbers)

    from_list, from_bytes = _THREE.encode_vector(numbers), _THREE.encode_vector(packed)

    assert from_list.tobytes() == from_bytes.tobytes()


def test_the_limit_applies_to_the_rounded_number_so_that_bytes_and_lists_agree() -> None:
    just_beyond = math.nextafter(1e18, math.inf)  # the nearest float32 is that of 1e18

    assert _THREE.encode_vector([just_beyond, -just_beyond, 0.0]).tolist() == (
        _THREE.encode_vector([1e18, -1e18, 0.0]).tolist()
    )


def test_a_wrong_length_is_told_what_was_found_what_was_expected_and_what_to_do() -> None:
    with pytest.raises(FeatureError) as vector:
        _THREE.encode_vector([1.0, 2.0])
    with pytest.raises(FeatureError) as matrix:
        _THREE.encode_matrix([[1.0, 2.0, 3.0], [1.0, 2.0]], 2)

    wanted = "found 2 numbers, expected 3; send as many as the policy declares"
    assert vector.value.detail == matrix.value.detail == wanted


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ([1.0, 2.0], "", "wrong_length"),
        ([1.0] * 4, "", "wrong_length"),
        (b"\0" * 8, "", "wrong_length"),
        (b"\0" * 13, "", "wrong_length"),
        ([1.0, math.nan, 1.0], "/1", "not_finite"),
        ([1.0, 1.0, -math.inf], "/2", "not_finite"),
        ([1e39, 1.0, 1.0], "/0", "too_large"),
        ([1.0, -2e18, 1.0], "/1", "too_large"),
        ([1.0, 10**400, 1.0], "/1", "too_large"),
        ([1.0, 1e39, math.nan], "/1", "too_large"),
        ([math.nan, 1.0, 1e39], "/0", "not_finite"),
        ([True, 1.0, 1.0], "/0", "wrong_type"),
        ([1.0, "1.5", 1.0], "/1", "wrong_type"),
        ([1.0, 1.0, None], "/2", "wrong_type"),
        (struct.pack("<3f", 1.0, 1.0, math.nan), "/2", "not_finite"),
        (struct.pack("<3f", 1.0, -math.inf, math.nan), "/1", "not_finite"),
        (struct.pack("<3f", 1.0, 3e38, 1.0), "/1", "too_large"),
    ],
)
def test_a_bad_vector_is_refused_at_the_place_that_is_wrong(
    values: Any, pointer: str, code: str
) -> None:
    assert _refused(values) == (pointer, code)


@given(st.lists(_ANY_FLOAT, min_size=3, max_size=3))
def test_every_vector_is_either_usable_or_refused(numbers: list[float]) -> None:
    if all(abs(number) <= 1e18 for number in numbers):
        assert np.isfinite(_THREE.encode_vector(numbers)).all()
    else:
        assert _refused(numbers)[1] in ("not_finite", "too_large")


def test_a_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(FeatureError) as caught:
        _THREE.encode_vector([1.0, 123456e30, 1.0])

    assert "123456" not in str(caught.value)


def test_a_matrix_comes_row_by_row_from_bytes_or_lists() -> None:
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    packed = np.array(rows, dtype="<f4").tobytes()

    from_lists, from_bytes = _THREE.encode_matrix(rows, 2), _THREE.encode_matrix(packed, 2)

    assert from_lists.tolist() == rows
    assert from_bytes.tolist() == rows


def test_a_slice_of_a_body_is_read_in_place() -> None:
    body = b"head" + np.array([[1.0, 2.0, 3.0]], dtype="<f4").tobytes()

    matrix = _THREE.encode_matrix(memoryview(body)[4:], 1)

    assert matrix.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ([[1.0, 2.0, 3.0]], "", "wrong_length"),
        ([[1.0, 2.0, 3.0], [1.0, 2.0]], "/1", "wrong_length"),
        ([[1.0, 2.0, 3.0], [1.0, math.nan, 3.0]], "/1/1", "not_finite"),
        ([[1.0, 2.0, 3.0], [1.0, 2.0, True]], "/1/2", "wrong_type"),
        (struct.pack("<6f", 1, 1, 1, 1e30, 1, 1), "/1/0", "too_large"),
        (struct.pack("<5f", 1, 1, 1, 1, 1), "", "wrong_length"),
    ],
)
def test_a_bad_matrix_is_refused_at_its_cell(values: Any, pointer: str, code: str) -> None:
    with pytest.raises(FeatureError) as caught:
        _THREE.encode_matrix(values, 2)

    assert (caught.value.pointer, caught.value.code) == (pointer, code)


def test_actions_without_features_have_an_empty_matrix() -> None:
    none = Featurizer(NoFeaturesConfig())

    assert none.encode_matrix(b"", 4).shape == (4, 0)
    assert none.encode_vector([]).shape == (0,)
    assert none.encode_named({}).shape == (0,)


def test_a_feature_is_refused_where_none_is_declared() -> None:
    none = Featurizer(NoFeaturesConfig())

    with pytest.raises(FeatureError, match="found 1 numbers, expected 0"):
        none.encode_vector([1.0])
    with pytest.raises(FeatureError, match="/size: is not declared"):
        none.encode_named({"size": 1})


def test_names_are_refused_where_a_vector_is_declared_and_the_other_way_round() -> None:
    named = Featurizer(NamedFeaturesConfig.model_validate({"fields": {"a": {"type": "flag"}}}))

    with pytest.raises(FeatureError, match="send `vector`"):
        _THREE.encode_named({"a": True})
    with pytest.raises(FeatureError, match="send `features`"):
        named.encode_vector([1.0])
    with pytest.raises(FeatureError, match="send `features`"):
        named.encode_matrix([[1.0]], 1)
