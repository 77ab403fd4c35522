"""One finished transition as bytes, for the replay stream.

    byte 0       format, 2
    bytes 1-4    CRC-32 of all that follows, little-endian
    bytes 5-8    length of the head, little-endian
    head         msgpack: names, numbers and shapes
    block        little-endian float32: state, action features, next state, next action features

Reading trusts nothing: what does not pass every check is a `CodecError`, so that one damaged entry
costs one transition and never the learner.

A propensity is above 0 and finite. Above 1 it can only be the density of a continuous action, which is a
set of one; a probability among several actions is at most 1. An action that was certain in a box has
`CERTAIN_DENSITY`: its true density is infinite, and the largest float32 is as near as a tensor comes, so
that a ratio with any other density is 0 or next to it.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from agent_core.types import ActionSet, Floats, Transition

FORMAT: Final = 2
CERTAIN_DENSITY: Final = float(np.finfo(np.float32).max)
_PREFIX: Final = struct.Struct("<BII")
_CRC_START: Final = 5
_Size = Annotated[int, Meta(ge=0)]


class CodecError(Exception):
    """Bytes are not a transition that may be learned from.

    `reason`: `format` (written by another version of Nacre), `corrupt` (truncated, damaged, or
    contradicting itself) or `non_finite` (NaN or infinity among its numbers).
    """

    def __init__(self, reason: Literal["format", "corrupt", "non_finite"], detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True, eq=False)
class StoredTransition:
    """A transition and the feature schema that its vectors were made with."""

    transition: Transition
    feature_schema: str


class _Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Everything but the vectors. `next_ids` and `next_state_dim` are None where nothing follows."""

    decision_id: str
    feature_schema: str
    action: _Size
    reward: float
    cost: float
    terminated: bool
    truncated: bool
    propensity: float
    model_version: _Size
    action_dim: _Size
    state_dim: _Size
    ids: tuple[str, ...]
    next_state_dim: _Size | None
    next_ids: tuple[str, ...] | None
    next_action: _Size | None
    episode_id: str
    step: _Size


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head).decode


def encode_transition(transition: Transition, feature_schema: str) -> bytes:
    """`transition` as bytes. Numbers are not judged here: the reader refuses, and counts, what is not finite."""
    t = transition
    tables = [t.state, t.actions.features]
    if t.next_state is not None:
        tables.append(t.next_state)
    if t.next_actions is not None:
        tables.append(t.next_actions.features)
    head = _encode(_head(t, feature_schema))
    block = b"".join([table.astype("<f4", copy=False).tobytes() for table in tables])
    crc = zlib.crc32(block, zlib.crc32(head, zlib.crc32(len(head).to_bytes(4, "little"))))
    return _PREFIX.pack(FORMAT, crc, len(head)) + head + block


def _head(t: Transition, feature_schema: str) -> _Head:
    return _Head(
        t.decision_id,
        feature_schema,
        int(t.action),
        float(t.reward),
        float(t.cost),
        bool(t.terminated),
        bool(t.truncated),
        float(t.propensity),
        int(t.model_version),
        t.actions.features.shape[1],
        len(t.state),
        t.actions.ids,
        None if t.next_state is None else len(t.next_state),
        None if t.next_actions is None else t.next_actions.ids,
        None if t.next_action is None else int(t.next_action),
        t.episode_id,
        int(t.step),
    )


def decode_transition(data: bytes) -> StoredTransition:
    """The transition in `data`; its vectors share one new block of memory.

    Raises:
        CodecError: see its `reason`. No other exception, whatever `data` holds.
    """
    head, start = _read_head(data)
    _check(head)
    block = _read_block(data, start, _sizes(head))
    if not (_is_finite(head) and np.isfinite(block).all()):
        raise CodecError("non_finite", "a number is NaN or infinite")
    return StoredTransition(_assemble(head, block), head.feature_schema)


def _read_head(data: bytes) -> tuple[_Head, int]:
    """The head, and where the block begins."""
    if not data or data[0] != FORMAT:
        raise CodecError("format" if data else "corrupt", f"expected format {FORMAT}")
    if len(data) < _PREFIX.size:
        raise CodecError("corrupt", "shorter than its prefix")
    _, crc, head_bytes = _PREFIX.unpack_from(data)
    view = memoryview(data)
    if zlib.crc32(view[_CRC_START:]) != crc:
        raise CodecError("corrupt", "the checksum does not match")
    start = _PREFIX.size + head_bytes
    try:
        return _decode(view[_PREFIX.size : start]), start
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError("corrupt", f"the head cannot be read: {error}") from None


def _check(head: _Head) -> None:
    """What the types cannot say. A NaN propensity passes here and is called `non_finite` later."""
    if not head.action < len(head.ids):
        raise CodecError("corrupt", "the action is not among the actions")
    if len(set(head.ids)) < len(head.ids):
        raise CodecError("corrupt", "an action id appears twice")
    if head.next_action is not None and not head.next_action < len(head.next_ids or ()):
        raise CodecError("corrupt", "the next action is not among the next actions")
    if head.propensity <= 0 or (head.propensity > 1 and len(head.ids) > 1):
        raise CodecError("corrupt", "the propensity is neither in (0, 1] nor a density")


def _sizes(head: _Head) -> tuple[int, int, int, int]:
    """How many numbers each of the four tables has."""
    width = head.action_dim
    return (
        head.state_dim,
        width * len(head.ids),
        head.next_state_dim or 0,
        width * len(head.next_ids or ()),
    )


def _read_block(data: bytes, start: int, sizes: tuple[int, int, int, int]) -> Floats:
    count = sum(sizes)
    if len(data) != start + 4 * count:
        raise CodecError("corrupt", "the vectors are not as long as the head says")
    # A copy: aligned, and free of the memory of the reply that it came in.
    return np.frombuffer(bytearray(memoryview(data)[start:]), "<f4").astype(np.float32, copy=False)


def _is_finite(head: _Head) -> bool:
    isfinite = math.isfinite
    return isfinite(head.reward) and isfinite(head.cost) and isfinite(head.propensity)


def _assemble(head: _Head, block: Floats) -> Transition:
    states, actions, next_states, _ = _sizes(head)
    width = head.action_dim
    split = states + actions
    next_split = split + next_states
    next_state = None if head.next_state_dim is None else block[split:next_split]
    next_actions = None
    if head.next_ids is not None:
        next_actions = ActionSet(
            head.next_ids, block[next_split:].reshape(len(head.next_ids), width)
        )
    return Transition(
        head.decision_id,
        block[:states],
        ActionSet(head.ids, block[states:split].reshape(len(head.ids), width)),
        head.action,
        head.reward,
        head.cost,
        next_state,
        next_actions,
        head.terminated,
        head.truncated,
        head.propensity,
        head.model_version,
        head.next_action,
        head.episode_id,
        head.step,
    )
