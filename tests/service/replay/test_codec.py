"""The replay codec gives back exactly what was put in, and refuses everything else by name."""

from __future__ import annotations

import struct
import zlib
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.training.collate import block_of
from agent_core.types import FACTS, ActionSet, ProblemSpec, Transition
from service.replay.codec import (
    CERTAIN_DENSITY,
    CodecError,
    decode_block,
    decode_transition,
    encode_transition,
)
from tests.support.learners import made_up
from tests.support.transitions import a_transition, transitions

_NAN, _INFINITY = float("nan"), float("inf")
_ONE = np.ones((1, 2), np.float32)


def _plain(value: Any) -> Any:
    """A value that compares by content, arrays bit by bit."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, ActionSet):
        return (value.ids, _plain(value.features))
    return value


def _content(transition: Transition) -> list[Any]:
    return [_plain(getattr(transition, field.name)) for field in fields(Transition)]


def _with_valid_checksum(data: bytes) -> bytes:
    """`data` as somebody would write it who computes the checksum of nonsense correctly."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


@given(transition=transitions(), schema=st.text(max_size=12))
def test_what_is_decoded_is_what_was_encoded_bit_by_bit(
    transition: Transition, schema: str
) -> None:
    data = encode_transition(transition, schema)

    stored = decode_transition(data)

    assert _content(stored.transition) == _content(transition)
    assert stored.feature_schema == schema


@given(transition=transitions())
def test_the_same_transition_is_always_the_same_bytes(transition: Transition) -> None:
    once = encode_transition(transition, "f:1")

    again = encode_transition(decode_transition(once).transition, "f:1")

    assert again == once


def test_every_truncation_is_refused() -> None:
    data = encode_transition(a_transition(), "f:1")

    for size in range(len(data)):
        with pytest.raises(CodecError) as refusal:
            decode_transition(data[:size])
        assert refusal.value.reason == "corrupt"


def test_every_single_flipped_bit_is_refused() -> None:
    data = encode_transition(a_transition(), "f:1")

    for at in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(CodecError):
            decode_transition(bytes(damaged))


@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(CodecError):
        decode_transition(garbage)


@given(garbage=st.binary(min_size=4, max_size=200))
def test_garbage_with_the_right_format_and_checksum_is_refused(garbage: bytes) -> None:
    data = _with_valid_checksum(b"\x03" + garbage + b"\0\0\0\0")

    with pytest.raises(CodecError):
        decode_transition(data)


@given(transition=transitions(), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_damage_under_a_right_checksum_is_refused_or_still_a_whole_transition(
    transition: Transition, at: int, byte: int
) -> None:
    damaged = bytearray(encode_transition(transition, "f:1"))
    damaged[min(at, len(damaged) - 1)] = byte

    try:
        stored = decode_transition(_with_valid_checksum(bytes(damaged))).transition
    except CodecError:
        return

    assert stored.action < len(stored.actions)
    assert stored.actions.features.shape[0] == len(stored.actions)
    assert 0 < stored.propensity <= (1 if len(stored.actions) > 1 else np.inf)
    assert stored.next_action is None or stored.next_action < len(stored.next_actions or ())
    assert np.isfinite(stored.reward)
    assert np.isfinite(stored.state).all()


@pytest.mark.parametrize("number", [1, 2, 4])
def test_another_format_is_named_as_such(number: int) -> None:
    data = bytes([number]) + encode_transition(a_transition(), "f:1")[1:]

    with pytest.raises(CodecError) as refusal:
        decode_transition(data)

    assert refusal.value.reason == "format"


def test_appended_bytes_are_refused() -> None:
    data = _with_valid_checksum(encode_transition(a_transition(), "f:1") + b"\0\0\0\0")

    with pytest.raises(CodecError, match="corrupt"):
        decode_transition(data)


@pytest.mark.parametrize("number", [_NAN, float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["reward", "cost", "state", "actions", "next_state"])
def test_numbers_that_are_not_finite_are_refused_wherever_they_stand(
    place: str, number: float
) -> None:
    vector = np.array([0.0, number], np.float32)
    table = ActionSet(("a", "b"), np.array([[0.0], [number]], np.float32))
    value = {"actions": table, "reward": number, "cost": number}.get(place, vector)
    data = encode_transition(a_transition(**{place: value}), "f:1")

    with pytest.raises(CodecError) as refusal:
        decode_transition(data)

    assert refusal.value.reason == "non_finite"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"propensity": 0.0}, "corrupt"),
        ({"propensity": -0.5}, "corrupt"),
        ({"propensity": 1.5}, "corrupt"),
        ({"propensity": _NAN}, "non_finite"),
        ({"action": 3}, "corrupt"),
        ({"action": -1}, "corrupt"),
        ({"model_version": -1}, "corrupt"),
        ({"actions": ActionSet(("a", "a"), np.zeros((2, 1), np.float32))}, "corrupt"),
        ({"actions": ActionSet(("a", "b"), np.zeros((3, 1), np.float32))}, "corrupt"),
        ({"next_action": 0}, "corrupt"),
        (
            {"next_actions": ActionSet((), np.zeros((0, 3), np.float32)), "next_action": 0},
            "corrupt",
        ),
        ({"next_actions": a_transition().actions, "next_action": 3}, "corrupt"),
        ({"next_actions": a_transition().actions, "next_action": -1}, "corrupt"),
        ({"step": -1}, "corrupt"),
        (
            {"actions": ActionSet(("box",), _ONE), "action": 0, "propensity": _INFINITY},
            "non_finite",
        ),
        ({"actions": ActionSet(("box",), _ONE), "action": 0, "propensity": 0.0}, "corrupt"),
    ],
)
def test_a_transition_that_contradicts_itself_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    data = encode_transition(a_transition(**changes), "f:1")

    with pytest.raises(CodecError) as refusal:
        decode_transition(data)

    assert refusal.value.reason == reason


@pytest.mark.parametrize("density", [0.25, 7.5, CERTAIN_DENSITY])
def test_the_density_of_a_continuous_action_may_be_above_1(density: float) -> None:
    """A box action is a set of one; on a box of side 0.1 a uniform draw has density 10."""
    taken = a_transition(actions=ActionSet(("box",), _ONE), action=0, propensity=density)

    stored = decode_transition(encode_transition(taken, "f:1")).transition

    assert stored.propensity == density


def test_where_a_step_stands_in_its_episode_comes_back() -> None:
    following = ActionSet(("a", "b"), np.zeros((2, 3), np.float32))
    place = {"episode_id": "café", "step": 12, "next_actions": following, "next_action": 1}

    stored = decode_transition(encode_transition(a_transition(**place), "f:1")).transition

    assert (stored.episode_id, stored.step, stored.next_action) == ("café", 12, 1)


# -- blocks -----------------------------------------------------------------------------------------

_SPEC = ProblemSpec(state_dim=3, action_dim=2, max_actions=10)


def _damaged(data: bytes, how: str) -> bytes:
    changed = bytearray(data)
    match how:
        case "format":
            changed[0] = 2
        case "corrupt":
            changed[20] ^= 1
        case "schema":
            return encode_transition(decode_transition(data).transition, "f:2")
        case "non_finite":
            nan = replace(decode_transition(data).transition, reward=_NAN)
            return encode_transition(nan, "f:1")
    return bytes(changed)


@given(
    damages=st.lists(
        st.sampled_from(["good", "format", "corrupt", "schema", "non_finite"]), max_size=30
    )
)
def test_a_block_is_its_good_entries_one_by_one_and_the_others_are_refused_by_name(
    damages: list[str],
) -> None:
    steps = made_up(len(damages), spec=_SPEC)
    data = [encode_transition(one, "f:1") for one in steps]

    found = decode_block(list(map(_damaged, data, damages)), _SPEC, "f:1")

    assert found.refused == {at: how for at, how in enumerate(damages) if how != "good"}
    assert found.good.tolist() == [at for at, how in enumerate(damages) if how == "good"]
    expected = block_of([steps[at] for at in found.good], _SPEC)
    for name in ("state", "next_state", "features", "offsets"):
        np.testing.assert_array_equal(getattr(found.transitions, name), getattr(expected, name))
    for name in FACTS.names or ():
        np.testing.assert_array_equal(found.transitions.facts[name], expected.facts[name])


@given(transition=transitions())
def test_what_a_block_holds_of_any_transition_is_what_was_written(transition: Transition) -> None:
    spec = ProblemSpec(len(transition.state), transition.actions.features.shape[1], 10)

    found = decode_block([encode_transition(transition, "f:1")] * 3, spec, "f:1")

    expected = block_of([transition] * 3, spec)
    assert found.refused == {}
    for name in ("state", "next_state", "features", "offsets"):
        got = getattr(found.transitions, name)
        assert got.tobytes() == getattr(expected, name).tobytes()
    for name in FACTS.names or ():
        assert found.transitions.facts[name].tobytes() == expected.facts[name].tobytes()


@given(garbage=st.lists(st.binary(max_size=200)), has_checksum=st.booleans())
def test_no_garbage_disturbs_its_neighbours(garbage: list[bytes], has_checksum: bool) -> None:
    if has_checksum:
        garbage = [_with_valid_checksum(b"\x03" + one + b"\0\0\0\0") for one in garbage]
    [step] = made_up(1, spec=_SPEC)

    found = decode_block([*garbage, encode_transition(step, "f:1")], _SPEC, "f:1")

    assert found.good.tolist() == [len(garbage)]
    np.testing.assert_array_equal(found.transitions.state[0], step.state)


@given(transition=transitions(), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_block_lets_nothing_pass_that_a_single_entry_would_not(
    transition: Transition, at: int, byte: int
) -> None:
    spec = ProblemSpec(len(transition.state), transition.actions.features.shape[1], 10)
    changed = bytearray(encode_transition(transition, "f:1"))
    changed[min(at, len(changed) - 1)] = byte
    data = _with_valid_checksum(bytes(changed))

    found = decode_block([data], spec, "f:1")

    if not len(found.good):
        return
    try:
        stored = decode_transition(data).transition
    except CodecError:
        return  # names that are no text, which no learner looks at
    assert stored.step == found.transitions.facts["step"][0]
    np.testing.assert_array_equal(stored.state, found.transitions.state[0])


def test_an_entry_of_other_sizes_is_corrupt_and_one_of_another_schema_says_so_first() -> None:
    other = a_transition()

    found = decode_block([encode_transition(other, name) for name in ("f:1", "f:2")], _SPEC, "f:1")

    assert found.refused == {0: "corrupt", 1: "schema"}


def test_an_empty_block_holds_nothing() -> None:
    found = decode_block([], _SPEC, "f:1")

    assert (len(found.transitions), found.refused) == (0, {})


def test_a_block_shares_no_memory_with_the_entries() -> None:
    data = [encode_transition(one, "f:1") for one in made_up(2, spec=_SPEC)]

    block = decode_block(data, _SPEC, "f:1").transitions

    assert not any(np.shares_memory(block.state, np.frombuffer(one, np.uint8)) for one in data)
    assert block.state.flags.writeable
