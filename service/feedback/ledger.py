"""The reward ledger of one decision: what counts, what came late, and how it becomes one number.

Every reward has an id; the same id twice counts once. Entries are msgpack, so equal rewards are equal
bytes and Redis compares them inside the script that writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

Aggregation = Literal["sum", "first", "last", "max", "min", "mean"]


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is compared and counted: the reward, its cost, its type, and the parts it was made of."""

    value: float
    cost: float
    type: str
    components: dict[str, float]


class LedgerReward(msgspec.Struct, frozen=True, gc=False):
    """One reward with its id and the server's arrival time in Unix milliseconds."""

    reward_id: str
    value: float
    cost: float
    type: str
    components: dict[str, float]
    arrived_ms: int


encode_entry = msgspec.msgpack.Encoder(order="deterministic").encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode


@dataclass(frozen=True, slots=True)
class Ledger:
    """`rewards` count; `late` came after the decision was closed. `revision` changes with each write."""

    rewards: tuple[LedgerReward, ...]
    late: tuple[LedgerReward, ...]
    revision: int
    is_final: bool


def read_ledger(fields: Mapping[str, bytes]) -> Ledger:
    """The ledger from the fields of its Redis hash."""

    def entries(prefix: str) -> tuple[LedgerReward, ...]:
        found = [
            ledger_reward(name[2:], value, int(fields.get("t:" + name[2:], b"0")))
            for name, value in fields.items()
            if name.startswith(prefix)
        ]
        return tuple(sorted(found, key=lambda one: (one.arrived_ms, one.reward_id)))

    return Ledger(entries("r:"), entries("l:"), int(fields.get("rev", b"0")), "final" in fields)


def ledger_reward(reward_id: str, entry: bytes, arrived_ms: int) -> LedgerReward:
    known = decode_entry(entry)
    return LedgerReward(
        reward_id, known.value, known.cost, known.type, known.components, arrived_ms
    )


def aggregate(rule: Aggregation, values: Sequence[float]) -> float:
    """One number from the values, in order of arrival; there is at least one.

    An all-negative list has a negative maximum: nothing is compared with a made-up start value.
    """
    match rule:
        case "sum":
            return float(sum(values))
        case "first":
            return float(values[0])
        case "last":
            return float(values[-1])
        case "max":
            return float(max(values))
        case "min":
            return float(min(values))
        case "mean":
            return float(sum(values) / len(values))


def total_cost(rewards: Iterable[LedgerReward]) -> float:
    """Costs add up, whatever the rule for rewards."""
    return float(sum(reward.cost for reward in rewards))
