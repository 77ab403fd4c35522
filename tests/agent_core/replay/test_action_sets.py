"""The store of distinct action sets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.replay.action_sets import ActionSetStore
from agent_core.types import Floats


def _features(name: int, size: int) -> Floats:
    return np.full((size, 2), name, np.float32)


def test_equal_sets_are_one_and_different_ones_are_not() -> None:
    store = ActionSetStore(2)

    first, again, other = (store.intern(_features(n, 3)) for n in (1, 1, 2))

    assert first == again != other
    assert len(store) == 2


def test_order_matters_because_the_chosen_action_is_a_position() -> None:
    store = ActionSetStore(2)
    rows = np.array([[1, 2], [3, 4]], np.float32)

    assert store.intern(rows) != store.intern(rows[::-1])


def test_sets_come_out_one_after_the_other() -> None:
    store = ActionSetStore(2)
    two, three = store.intern(_features(2, 2)), store.intern(_features(3, 3))

    features, offsets = store.gather(torch.tensor([three, store.empty, two, three]))

    assert offsets.tolist() == [0, 3, 3, 5, 8]
    assert features[:, 0].tolist() == [3, 3, 3, 2, 2, 3, 3, 3]


def test_a_set_is_dropped_with_its_last_reference_and_its_id_is_used_again() -> None:
    store = ActionSetStore(2)
    first = store.intern(_features(1, 3))
    store.intern(_features(1, 3))

    store.release(first)
    still_there = len(store)
    store.release(first)

    assert (still_there, len(store)) == (1, 0)
    assert store.intern(_features(2, 5)) == first


def test_space_of_dropped_sets_is_used_again() -> None:
    store = ActionSetStore(2)
    held = [store.intern(_features(n, 50)) for n in range(20)]
    size_bytes = store.size_bytes

    for n in range(20, 2000):
        store.release(held.pop(0))
        held.append(store.intern(_features(n, 50)))

    assert store.size_bytes <= 2 * size_bytes
    features, offsets = store.gather(torch.tensor(held))
    assert features[offsets[:-1], 0].tolist() == list(range(1980, 2000))


def test_a_restored_store_gives_the_same_ids_as_the_one_that_was_saved() -> None:
    store, restored = ActionSetStore(2), ActionSetStore(2)
    held = [store.intern(_features(n, 2)) for n in range(4)]
    for set_id in reversed(held[1:3]):
        store.release(set_id)

    restored.load_training_state(store.training_state())

    more = [_features(n, 2) for n in range(4, 8)]
    assert [restored.intern(f) for f in more] == [store.intern(f) for f in more]


def test_a_set_that_is_held_twice_must_be_released_twice() -> None:
    store = ActionSetStore(2)
    first = store.intern(_features(1, 3))
    store.hold(first)
    store.hold(store.empty)

    store.release(first)

    assert len(store) == 1
    store.release(first)
    assert len(store) == 0


def test_the_content_is_the_rows_and_keys_of_the_sets_that_are_referred_to() -> None:
    store = ActionSetStore(2)
    first = store.intern(_features(1, 3))
    store.intern(_features(2, 5))

    # 8 rows of 2 float32, and for each set three int64 and 100 bytes for its key.
    assert store.content_bytes == 8 * 8 + 2 * (24 + 100)
    store.release(first)
    assert store.content_bytes == 5 * 8 + 24 + 100
    assert store.size_bytes >= store.content_bytes


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=300))
def test_any_history_leaves_exactly_the_sets_that_are_referred_to(
    history: list[tuple[int, bool]],
) -> None:
    store, references, ids = ActionSetStore(2), Counter[int](), dict[int, int]()

    for name, is_added in history:
        if is_added:
            ids[name] = store.intern(_features(name, 40 + name))
            references[name] += 1
        elif references[name]:
            store.release(ids[name])
            references[name] -= 1
    restored = ActionSetStore(2)
    restored.load_training_state(store.training_state())

    alive = sorted(+references)
    for current in (store, restored):
        features, offsets = current.gather(torch.tensor([ids[n] for n in alive], dtype=torch.int64))
        assert len(current) == len(alive)
        assert offsets.diff().tolist() == [40 + name for name in alive]
        assert features[offsets[:-1], 0].tolist() == alive
