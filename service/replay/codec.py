"""Finished transitions as bytes, for the replay stream.

    head       numbers and sizes, see `_FIELDS`; the first byte is the format, 3
    vectors    little-endian float32: state, action features, next state, next action features
    names      feature schema, decision id, episode id, and in msgpack the ids of both action sets
    check      CRC-32 of all that comes before, little-endian

The head is of one size, and vectors lie where it says, so a block of entries is read without a loop over what
is in them; names are needed only by those who look at a single entry. In the head, the decision and the
episode have their `key_of`.

Reading trusts nothing: what does not pass every check is refused by name, so that one damaged entry costs one
transition and never the learner.

A propensity is above 0 and finite. Above 1 it can only be the density of a continuous action, which is a
set of one; a probability among several actions is at most 1. An action that was certain in a box has
`CERTAIN_DENSITY`: its true density is infinite, and the largest float32 is as near as a tensor comes, so
that a ratio with any other density is 0 or next to it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from agent_core.functional.blocks import ends, spans, those
from agent_core.functional.keys import key_of
from agent_core.training.fit import are_finite, fits
from agent_core.types import (
    FACTS,
    ActionSet,
    Floats,
    Integers,
    Mask,
    ProblemSpec,
    Transition,
    TransitionBlock,
)

FORMAT: Final = 3
CERTAIN_DENSITY: Final = float(np.finfo(np.float32).max)

_FIELDS: Final = (
    ("format", "B"),
    ("flags", "B"),
    ("schema_bytes", "H"),
    ("decision_bytes", "H"),
    ("episode_bytes", "H"),
    ("ids_bytes", "I"),
    ("state_dim", "I"),
    ("action_dim", "I"),
    ("actions", "I"),
    ("next_actions", "I"),
    ("action", "i"),
    ("next_action", "i"),
    ("model_version", "q"),
    ("step", "q"),
    ("key", "q"),
    ("episode", "q"),
    ("reward", "d"),
    ("cost", "d"),
    ("propensity", "d"),
)
"""Names and types; the letters mean the same to `struct` and to numpy."""
_PACK: Final = struct.Struct("<" + "".join(code for _, code in _FIELDS))
_HEAD: Final = np.dtype([(name, f"<{code}") for name, code in _FIELDS])
_CHECK: Final = struct.Struct("<I")
_RESIDUE: Final = 0x2144DF1C
"""The CRC-32 of whatever ends with its own CRC-32."""
_TERMINATED, _TRUNCATED, _NEXT_STATE, _NEXT_ACTION = 1, 2, 4, 8
_FLAGS: Final = 15

_NAMES: Final = (
    "schema_bytes",
    "decision_bytes",
    "episode_bytes",
    "ids_bytes",
)
_SHARED: Final = tuple(name for name, _ in _FIELDS if name in (FACTS.names or ()))

SkipReason = Literal["format", "corrupt", "non_finite", "schema", "quarantined"]
"""Why an entry teaches nothing: written by another version of Nacre; truncated, damaged, contradicting itself
or of other sizes than the policy; NaN, infinity or more than float32 can hold among its numbers; encoded with
other features, or its reward totalled by another rule; made by a version that must not be learned from."""


class CodecError(Exception):
    """Bytes are not a transition that may be learned from, for this `reason`."""

    def __init__(self, reason: SkipReason) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, eq=False)
class StoredTransition:
    """A transition and the feature schema that its vectors were made with."""

    transition: Transition
    feature_schema: str


# -- writing ----------------------------------------------------------------------------------------


def encode_transition(transition: Transition, feature_schema: str) -> bytes:
    """`transition` as bytes. Numbers are not judged here: the reader refuses, and counts, what is not finite.

    Raises:
        struct.error: a name or a count is larger than its place in the head.
    """
    t = transition
    names = [feature_schema.encode(), t.decision_id.encode(), t.episode_id.encode()]
    names.append(_encode((t.actions.ids, None if t.next_actions is None else t.next_actions.ids)))
    tables = [t.state, t.actions.features]
    if t.next_state is not None:
        tables.append(t.next_state)
    if t.next_actions is not None:
        tables.append(t.next_actions.features)
    vectors = [table.astype("<f4", copy=False).tobytes() for table in tables]
    body = b"".join([_head(t, [len(name) for name in names]), *vectors, *names])
    return body + _CHECK.pack(zlib.crc32(body))


_encode = msgspec.msgpack.Encoder().encode


def _head(t: Transition, name_bytes: Sequence[int]) -> bytes:
    return _PACK.pack(
        FORMAT,
        _flags(t),
        *name_bytes,
        len(t.state),
        t.actions.features.shape[1],
        len(t.actions.ids),
        0 if t.next_actions is None else len(t.next_actions.ids),
        t.action,
        -1 if t.next_action is None else t.next_action,
        t.model_version,
        t.step,
        key_of(t.decision_id),
        key_of(t.episode_id) if t.episode_id else 0,
        t.reward,
        t.cost,
        t.propensity,
    )


def _flags(t: Transition) -> int:
    return (
        _TERMINATED * t.terminated
        | _TRUNCATED * t.truncated
        | _NEXT_STATE * (t.next_state is not None)
        | _NEXT_ACTION * (t.next_action is not None)
    )


# -- reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What a block of entries holds.

    `good`: `[T]`, positions of the entries that became `transitions`. `refused`: by position, why others did not.
    """

    transitions: TransitionBlock
    good: Integers
    refused: dict[int, SkipReason]

    def keep(self, is_good: Mask, reason: SkipReason) -> Decoded:
        """Without those of which `is_good` `[T]` does not hold."""
        if is_good.all():
            return self
        refused = self.refused | dict.fromkeys(self.good[~is_good].tolist(), reason)
        return Decoded(those(self.transitions, is_good), self.good[is_good], refused)


def decode_block(data: Sequence[bytes], spec: ProblemSpec, feature_schema: str) -> Decoded:
    """What in `data` a learner of `spec` may learn from; shares no memory with it."""
    entries = _sound(data)
    entries = entries.keep(_has_schema(entries, feature_schema), "schema")
    heads = entries.heads
    is_sized = (heads["state_dim"] == spec.state_dim) & (heads["action_dim"] == spec.action_dim)
    entries = entries.keep(is_sized, "corrupt")
    found = Decoded(
        _block(entries, spec.state_dim, spec.action_dim), entries.at, dict(entries.refused)
    )
    found = found.keep(are_finite(found.transitions), "non_finite")
    return found.keep(fits(found.transitions, spec), "corrupt")


def decode_transition(data: bytes) -> StoredTransition:
    """One transition whole, with its names, for whoever inspects the stream.

    Raises:
        CodecError: see its `reason`. No other exception, whatever `data` holds.
    """
    entries = _sound([data])
    for reason in entries.refused.values():
        raise CodecError(reason)
    head = entries.heads[0]
    block = _block(entries, int(head["state_dim"]), int(head["action_dim"]))
    if not are_finite(block)[0]:
        raise CodecError("non_finite")
    at = int(entries.starts[0] + _HEAD.itemsize + 4 * _vector_sizes(entries.heads)[0])
    try:
        return _with_names(block, head, data[at:])
    except UnicodeDecodeError:
        raise CodecError("corrupt") from None


@dataclass(frozen=True, slots=True, eq=False)
class _Entries:
    """G entries that nothing is wrong with so far: `at`, `[G]`, their positions; where they lie in `joined`,
    and how long they are. `heads`: `[G]` of `_HEAD`, once they are known to have any."""

    joined: bytes
    at: Integers
    starts: Integers
    sizes: Integers
    heads: npt.NDArray[Any]
    refused: dict[int, SkipReason]

    def keep(self, is_good: Mask, reason: SkipReason) -> _Entries:
        """Without those of which `is_good` `[G]` does not hold."""
        if is_good.all():
            return self
        return _Entries(
            self.joined,
            self.at[is_good],
            self.starts[is_good],
            self.sizes[is_good],
            self.heads[is_good],
            self.refused | dict.fromkeys(self.at[~is_good].tolist(), reason),
        )

    def cut(self, offsets: Integers, width: int) -> npt.NDArray[np.uint8]:
        """`[M, width]`: the bytes of `joined` from each of `offsets` `[M]` on."""
        count = max(0, len(self.joined) - width + 1)
        windows = np.ndarray((count, width), np.uint8, self.joined, strides=(1, 1))
        return windows[offsets]


def _sound(data: Sequence[bytes]) -> _Entries:
    """The entries of this format that arrived whole and do not contradict themselves."""
    sizes = np.fromiter(map(len, data), np.int64, len(data))
    starts = np.cumsum(sizes) - sizes
    heads = np.zeros(len(data), _HEAD)
    entries = _Entries(b"".join(data), np.arange(len(data)), starts, sizes, heads, {})
    entries = entries.keep(sizes > 0, "corrupt")
    entries = entries.keep(entries.cut(entries.starts, 1)[:, 0] == FORMAT, "format")
    residues = (zlib.crc32(data[at]) for at in entries.at.tolist())
    is_undamaged = np.fromiter(residues, np.int64, len(entries.at)) == _RESIDUE
    is_undamaged &= entries.sizes >= _HEAD.itemsize + _CHECK.size
    entries = entries.keep(is_undamaged, "corrupt")
    heads = entries.cut(entries.starts, _HEAD.itemsize).view(_HEAD).reshape(-1)
    entries = replace(entries, heads=heads)
    entries = entries.keep(_is_whole(heads, entries.sizes), "corrupt")
    entries = entries.keep(_is_consistent(entries.heads), "corrupt")
    return entries.keep(_has_distinct_ids(entries), "corrupt")


def _is_whole(heads: npt.NDArray[Any], sizes: Integers) -> Mask:
    """`[G]`: whether vectors and names are as long as the head says."""
    counts = ("state_dim", "action_dim", "actions", "next_actions")
    is_small = np.all([heads[name] <= sizes for name in counts], axis=0)  # so nothing overflows
    content = 4 * _vector_sizes(heads) + sum(heads[name].astype(np.int64) for name in _NAMES)
    whole: Mask = is_small & (_HEAD.itemsize + content + _CHECK.size == sizes)
    return whole


def _is_consistent(heads: npt.NDArray[Any]) -> Mask:
    """`[G]`: what types cannot say. A NaN propensity passes here and is called `non_finite` later."""
    action, next_action = heads["action"], heads["next_action"]
    is_known = heads["flags"] & _NEXT_ACTION != 0
    good: Mask = (action >= 0) & (action < heads["actions"])
    good &= np.where(is_known, next_action >= 0, next_action == -1)
    good &= next_action < heads["next_actions"].astype(np.int64)
    good &= (heads["flags"] <= _FLAGS) & (heads["model_version"] >= 0) & (heads["step"] >= 0)
    return (
        good & ~(heads["propensity"] <= 0) & ~((heads["propensity"] > 1) & (heads["actions"] > 1))
    )


def _has_distinct_ids(entries: _Entries) -> Mask:
    """`[G]`: whether both sets have as many different ids as actions."""
    stops = entries.starts + entries.sizes - _CHECK.size
    starts = stops - entries.heads["ids_bytes"]
    places = zip(starts.tolist(), stops.tolist(), strict=True)
    counts = np.fromiter((_counts(entries.joined[a:b]) for a, b in places), np.int64, len(starts))
    sizes = _set_sizes(entries.heads)
    are_distinct: Mask = counts == sizes[:, 0] * _SHIFT + sizes[:, 1]
    return are_distinct


@lru_cache(maxsize=64)
def _counts(ids: bytes) -> int:
    """How many different ids each of both sets has, in one number; -1 if they cannot be read, or if one appears
    twice in its set. Most steps have the same sets as others, so few are ever looked at."""
    try:
        now, then = _decode_ids(ids)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return -1
    following = then or ()
    is_distinct = len(set(now)) == len(now) and len(set(following)) == len(following)
    return len(now) * _SHIFT + len(following) if is_distinct else -1


_SHIFT: Final = 2**31
_decode_ids = msgspec.msgpack.Decoder(tuple[tuple[str, ...], tuple[str, ...] | None]).decode


def _has_schema(entries: _Entries, feature_schema: str) -> Mask:
    wanted = np.frombuffer(feature_schema.encode(), np.uint8)
    has: Mask = entries.heads["schema_bytes"] == len(wanted)
    names = entries.starts + _HEAD.itemsize + 4 * _vector_sizes(entries.heads)
    has[has] = (entries.cut(names[has], len(wanted)) == wanted).all(1)
    return has


def _vector_sizes(heads: npt.NDArray[Any]) -> Integers:
    """`[G]`: how many numbers the vectors of each have in all."""
    states = heads["state_dim"].astype(np.int64) * (1 + _has_next(heads))
    sizes: Integers = states + heads["action_dim"].astype(np.int64) * _set_sizes(heads).sum(1)
    return sizes


def _set_sizes(heads: npt.NDArray[Any]) -> Integers:
    """`[G, 2]`: how many actions there are, and how many next ones."""
    return np.stack([heads["actions"], heads["next_actions"]], 1).astype(np.int64)


def _has_next(heads: npt.NDArray[Any]) -> Mask:
    has: Mask = heads["flags"] & _NEXT_STATE != 0
    return has


def _block(entries: _Entries, state_dim: int, action_dim: int) -> TransitionBlock:
    """The columns of entries that are all of these sizes."""
    heads, sizes, has_next = entries.heads, _set_sizes(entries.heads), _has_next(entries.heads)
    state_bytes, row_bytes = 4 * state_dim, 4 * action_dim
    first = entries.starts + _HEAD.itemsize + state_bytes
    after = first + row_bytes * sizes[:, 0]
    second = after + state_bytes * has_next
    next_state = np.zeros((len(heads), state_dim), np.float32)
    next_state[has_next] = _floats(entries.cut(after[has_next], state_bytes))
    starts, counts = np.stack([first, second], 1).ravel(), sizes.ravel()
    rows = np.repeat(starts, counts) + row_bytes * spans(np.zeros_like(counts), counts)
    return TransitionBlock(
        _floats(entries.cut(first - state_bytes, state_bytes)),
        next_state,
        _floats(entries.cut(rows, row_bytes)),
        ends(counts),
        _facts(heads, has_next),
    )


def _floats(cut: npt.NDArray[np.uint8]) -> Floats:
    """`[M, W]` numbers from `[M, 4 W]` bytes."""
    return cut.view("<f4").astype(np.float32, copy=False)


def _facts(heads: npt.NDArray[Any], has_next: Mask) -> npt.NDArray[Any]:
    facts = np.empty(len(heads), FACTS)
    for name in _SHARED:
        facts[name] = heads[name]
    facts["terminated"] = heads["flags"] & _TERMINATED != 0
    facts["truncated"] = heads["flags"] & _TRUNCATED != 0
    facts["has_next"] = has_next
    return facts


def _with_names(block: TransitionBlock, head: Any, names: bytes) -> StoredTransition:
    """The only transition of `block`; `head` and `names` have been checked but for the spelling of names."""
    ends_of_names = np.cumsum([int(head[name]) for name in _NAMES]).tolist()
    schema, decision_id, episode_id, ids = (
        names[start:stop] for start, stop in pairwise([0, *ends_of_names])
    )
    now, then = _decode_ids(ids)
    _, split, stop = block.offsets.tolist()
    facts, features = block.facts[0], block.features
    transition = Transition(
        decision_id=decision_id.decode(),
        state=block.state[0],
        actions=ActionSet(now, features[:split]),
        action=int(facts["action"]),
        reward=float(facts["reward"]),
        cost=float(facts["cost"]),
        next_state=block.next_state[0] if facts["has_next"] else None,
        next_actions=None if then is None else ActionSet(then, features[split:stop]),
        terminated=bool(facts["terminated"]),
        truncated=bool(facts["truncated"]),
        propensity=float(facts["propensity"]),
        model_version=int(facts["model_version"]),
        next_action=int(facts["next_action"]) if head["flags"] & _NEXT_ACTION else None,
        episode_id=episode_id.decode(),
        step=int(facts["step"]),
    )
    return StoredTransition(transition, schema.decode())
