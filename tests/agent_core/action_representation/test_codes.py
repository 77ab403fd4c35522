"""One-hot and binary codes of ids, with features appended."""

from __future__ import annotations

import numpy as np

from agent_core.action_representation.binary import BinaryConfig
from agent_core.action_representation.identity import IdentityConfig
from agent_core.action_representation.one_hot import OneHotConfig

_NO_FEATURES = np.zeros((3, 0), dtype=np.float32)
_FEATURES = np.array([[0.5, -1.0], [2.0, 0.0], [3.0, 4.0]], dtype=np.float32)


def test_one_hot_keeps_its_last_slot_for_ids_that_are_not_listed() -> None:
    one_hot = OneHotConfig(ids=("a", "b")).build(0)

    codes = one_hot.encode(("b", "new", "a"), _NO_FEATURES)

    assert codes.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_one_hot_puts_the_features_after_the_code() -> None:
    one_hot = OneHotConfig(ids=("a",)).build(2)

    encoded = one_hot.encode(("a", "new", "a"), _FEATURES)

    assert one_hot.dim == 4
    assert encoded.tolist() == [[1, 0, 0.5, -1], [0, 1, 2, 0], [1, 0, 3, 4]]


def test_binary_counts_from_one_and_an_unlisted_id_is_all_zeros() -> None:
    binary = BinaryConfig(ids=("a", "b", "c", "d")).build(0)

    codes = binary.encode(("a", "c", "new"), _NO_FEATURES)

    # Lowest bit first: 1 is 100, 3 is 110.
    assert codes.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_binary_codes_are_all_different_and_never_zero_for_a_listed_id() -> None:
    ids = tuple(str(i) for i in range(64))

    codes = BinaryConfig(ids=ids).build(0).encode((*ids, "new"), np.zeros((65, 0), np.float32))

    # 64 is 1000000 in binary: seven slots.
    assert codes.shape == (65, 7)
    assert len(np.unique(codes, axis=0)) == 65


def test_identity_is_the_features() -> None:
    identity = IdentityConfig().build(2)

    assert identity.dim == 2
    assert identity.encode(("a", "b", "c"), _FEATURES).tolist() == _FEATURES.tolist()
