"""The tree of sums."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent_core.replay.sum_tree import SumTree


def _tree(*values: float) -> SumTree:
    tree = SumTree(len(values))
    tree.put(np.arange(len(values)), np.array(values))
    return tree


def test_each_fraction_of_the_total_lies_in_its_leaf() -> None:
    tree = _tree(1.0, 0.0, 3.0, 4.0)

    # Of 8: [0, 1) is leaf 0, [1, 4) is leaf 2, [4, 8) is leaf 3.
    found = tree.find(np.array([0.0, 0.99, 1.0, 3.99, 4.0, 7.99]) / 8)

    assert tree.total == 8.0
    assert found.tolist() == [0, 0, 2, 2, 3, 3]


def test_one_leaf_can_be_set_as_well_as_many() -> None:
    one, many = _tree(1.0, 2.0, 3.0, 4.0), _tree(1.0, 2.0, 3.0, 4.0)

    one.put_one(2, 0.1)
    many.put(np.array([2]), np.array([0.1]))

    assert one.total == many.total
    assert one.get(np.arange(4)).tolist() == [1.0, 2.0, 0.1, 4.0]


def test_of_a_leaf_that_is_named_twice_the_last_value_stays() -> None:
    tree = _tree(1.0, 2.0)

    tree.put(np.array([1, 0, 1]), np.array([5.0, 7.0, 6.0]))

    assert tree.get(np.arange(2)).tolist() == [7.0, 6.0]
    assert tree.total == 13.0


@given(
    st.lists(st.just(0.0) | st.floats(1e-12, 1e12), min_size=8, max_size=8).filter(any),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
def test_an_empty_leaf_is_never_found_whatever_the_rounding(
    values: list[float], fractions: list[float]
) -> None:
    tree = _tree(*values)

    found = tree.find(np.array([*fractions, np.nextafter(1.0, 0.0)]))

    assert (tree.get(found) > 0).all()


def test_sums_depend_on_the_leaves_alone_and_not_on_their_history() -> None:
    generator = np.random.default_rng(0)
    tree, final = _tree(*np.zeros(16)), generator.random(16)
    for _ in range(100):
        tree.put(generator.integers(16, size=8), 10.0 ** generator.uniform(-9, 9, size=8))

    tree.put(np.arange(16), final)

    assert tree.total == _tree(*final).total
