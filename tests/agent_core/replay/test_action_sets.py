"""The store of distinct action sets."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.blocks import ends
from agent_core.replay.action_sets import ActionSetStore
from agent_core.types import Floats, Integers


def _features(name: int, size: int) -> Floats:
    return np.full((size, 2), name, np.float32)


def _intern(store: ActionSetStore, *sets: Floats) -> list[int]:
    """The ids of `sets`, each with one more reference."""
    sizes = np.array([len(one) for one in sets], np.int64)
    features = np.concatenate([np.zeros((0, 2), np.float32), *sets])
    found: list[int] = store.intern(features, ends(sizes)).tolist()
    return found


def _ids(*sets: int) -> Integers:
    return np.array(sets, np.int64)


def test_equal_sets_are_one_and_different_ones_are_not() -> None:
    store = ActionSetStore(2)

    first, again, other, late = _intern(store, *(_features(n, 3) for n in (1, 1, 2, 1)))

    assert first == again == late != other
    assert len(store) == 2


def test_order_matters_because_the_chosen_action_is_a_position() -> None:
    store = ActionSetStore(2)
    rows = np.array([[1, 2], [3, 4]], np.float32)

    there, back = _intern(store, rows, rows[::-1])

    assert there != back


def test_zeros_of_different_sign_are_different_because_they_are_to_come_back_bit_by_bit() -> None:
    store = ActionSetStore(2)

    plus, minus = _intern(store, np.zeros((1, 2), np.float32), -np.zeros((1, 2), np.float32))

    assert plus != minus


def test_empty_sets_are_one_that_is_never_dropped() -> None:
    store = ActionSetStore(2)

    found = _intern(store, _features(0, 0), _features(1, 1), _features(0, 0))
    store.release(_ids(*found))

    assert (found[0], found[2]) == (store.empty, store.empty)
    assert len(store) == 0
    assert _intern(store, _features(0, 0)) == [store.empty]


def test_a_part_of_a_table_is_interned_as_if_it_were_alone() -> None:
    store = ActionSetStore(2)
    table = np.arange(12, dtype=np.float32).reshape(6, 2)

    part = store.intern(table, np.array([2, 3, 6]))
    alone = store.intern(table[2:].copy(), np.array([0, 1, 4]))

    assert part.tolist() == alone.tolist()


def test_sets_come_out_one_after_the_other() -> None:
    store = ActionSetStore(2)
    two, three = _intern(store, _features(2, 2), _features(3, 3))

    features, sizes = store.gather(_ids(three, store.empty, two, three))

    assert sizes.tolist() == [3, 0, 2, 3]
    assert features[:, 0].tolist() == [3, 3, 3, 2, 2, 3, 3, 3]


def test_the_place_of_a_set_is_where_its_rows_lie_in_the_arena() -> None:
    store = ActionSetStore(2)
    two, three = _intern(store, _features(2, 2), _features(3, 3))

    starts, sizes = store.places(_ids(three, store.empty, two))

    # Two rows lie first, three after them; the empty set has no place.
    assert (starts[0], starts[2], sizes.tolist()) == (2, 0, [3, 0, 2])
    assert store.arena[: store.used, 0].tolist() == [2, 2, 3, 3, 3]


def test_rows_are_written_once_and_when_sets_are_moved_it_is_to_another_arena() -> None:
    store = ActionSetStore(2)
    held, seen = _intern(store, *(_features(n, 50) for n in range(3))), []

    for n in range(3, 20):
        arena, written = store.arena, store.arena[: store.used].copy()
        store.release(_ids(held.pop(0)))
        held += _intern(store, _features(n, 50))
        np.testing.assert_array_equal(arena[: len(written)], written)
        seen.append(store.arena is arena)

    # 256 rows hold five sets of 50. Two are alive when a sixth comes, so every third of the 17 finds no room.
    assert seen == [True, True, False] * 5 + [True, True]


def test_a_set_is_dropped_with_its_last_reference_and_its_id_is_used_again() -> None:
    store = ActionSetStore(2)
    first, _ = _intern(store, _features(1, 3), _features(1, 3))

    store.release(_ids(first))
    still_there = len(store)
    store.release(_ids(first))

    assert (still_there, len(store)) == (1, 0)
    assert _intern(store, _features(2, 5)) == [first]


def test_a_set_that_is_released_as_often_as_it_was_held_at_once_is_dropped() -> None:
    store = ActionSetStore(2)
    first, other = _intern(store, _features(1, 3), _features(2, 3))
    store.hold(_ids(first, first, other))

    store.release(_ids(first, other, first, first))

    assert len(store) == 1


def test_space_of_dropped_sets_is_used_again() -> None:
    store = ActionSetStore(2)
    held = _intern(store, *(_features(n, 50) for n in range(20)))
    size_bytes = store.size_bytes

    for n in range(20, 2000):
        store.release(_ids(held.pop(0)))
        held += _intern(store, _features(n, 50))

    assert store.size_bytes <= 2 * size_bytes
    features, sizes = store.gather(_ids(*held))
    assert features[ends(sizes)[:-1], 0].tolist() == list(range(1980, 2000))


def test_the_content_is_the_rows_and_keys_of_the_sets_that_are_referred_to() -> None:
    store = ActionSetStore(2)
    first, _ = _intern(store, _features(1, 3), _features(2, 5))

    # 8 rows of 2 float32, and for each set three int64 and 100 bytes for its key.
    assert store.content_bytes == 8 * 8 + 2 * (24 + 100)
    store.release(_ids(first))
    assert store.content_bytes == 5 * 8 + 24 + 100
    assert store.size_bytes >= store.content_bytes


def test_numbers_depend_on_the_order_of_sets_and_not_on_what_was_there_before() -> None:
    fresh, used = ActionSetStore(2), ActionSetStore(2)
    before = _intern(used, *(_features(n, 2) for n in (7, 8, 9)))
    used.release(_ids(*before[:2]))
    sets = [_features(n, 3) for n in (3, 1, 3, 2)]

    first, second = (store.numbered(_ids(*_intern(store, *sets))) for store in (fresh, used))

    assert first[0].tolist() == second[0].tolist() == [0, 1, 0, 2]
    assert first[1]["features"][:, 0].tolist() == [3, 3, 3, 1, 1, 1, 2, 2, 2]
    assert all((first[1][name] == second[1][name]).all() for name in ("features", "offsets"))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=300))
def test_any_history_leaves_exactly_the_sets_that_are_referred_to(
    history: list[tuple[int, bool]],
) -> None:
    store, references, ids = ActionSetStore(2), Counter[int](), dict[int, int]()

    for name, is_added in history:
        if is_added:
            (ids[name],) = _intern(store, _features(name, 40 + name))
            references[name] += 1
        elif references[name]:
            store.release(_ids(ids[name]))
            references[name] -= 1
    held = [name for name in sorted(references) for _ in range(references[name])]
    sets = _ids(*(ids[name] for name in held))
    restored, again = ActionSetStore.of_numbered(*store.numbered(sets))

    for current, found in ((store, sets), (restored, again)):
        features, sizes = current.gather(found)
        assert len(current) == len(+references)
        assert sizes.tolist() == [40 + name for name in held]
        assert features[ends(sizes)[:-1], 0].tolist() == held
        current.release(found)
        assert len(current) == 0
