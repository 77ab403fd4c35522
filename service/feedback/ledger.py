"""The reward ledger of one decision: what counts, what came late, and how it becomes one number.

Every reward has an id; the same id twice counts once. Entries are msgpack, so equal rewards are equal
bytes and Redis compares them inside the script that writes them.

An entry keeps what was sent. A reward that was sent in parts has no number of its own: its parts are weighed
when the ledger is read, under the weights of that moment. So all rewards of a decision are totalled by one rule,
however the weights changed while it was open; what was learned from can be totalled anew; and a reward that
is sent again after such a change is still the same reward.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from service.policies.config import RewardRule

Aggregation = Literal["sum", "first", "last", "max", "min", "mean"]


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is compared and counted: the reward (None where it was sent in parts), its cost, its type, its parts."""

    value: float | None
    cost: float
    type: str
    components: dict[str, float]


class LedgerReward(msgspec.Struct, frozen=True, gc=False):
    """One reward with its id and the server's arrival time in Unix milliseconds. `value`: its parts weighed, or
    what was sent."""

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


def read_ledger(fields: Mapping[str, bytes], rule: RewardRule) -> Ledger:
    """The ledger from the fields of its Redis hash, with values under `rule`."""

    def entries(prefix: str) -> tuple[LedgerReward, ...]:
        names = [name[2:] for name in fields if name.startswith(prefix)]
        found = [(name, fields[prefix + name], fields["t:" + name]) for name in names]
        return in_order(found, rule)

    return Ledger(entries("r:"), entries("l:"), int(fields.get("rev", b"0")), "final" in fields)


def in_order(
    found: Iterable[tuple[str, bytes, bytes]], rule: RewardRule
) -> tuple[LedgerReward, ...]:
    """Rewards in order of arrival, from each one's id, entry and arrival as `reward.lua` keeps it.

    The order is that of the writes in Redis: times come from several servers, and a millisecond holds many.
    """
    arrivals = [(arrival.split(b" "), name, entry) for name, entry, arrival in found]
    ordered = sorted(arrivals, key=lambda one: int(one[0][1]))
    return tuple(ledger_reward(name, entry, int(at[0]), rule) for at, name, entry in ordered)


def ledger_reward(reward_id: str, entry: bytes, arrived_ms: int, rule: RewardRule) -> LedgerReward:
    """A reward from its entry, valued under `rule`."""
    known = decode_entry(entry)
    value = weighed(known.components, rule) if known.components else known.value or 0.0
    return LedgerReward(reward_id, value, known.cost, known.type, known.components, arrived_ms)


def weighed(components: Mapping[str, float], rule: RewardRule) -> float:
    """The sum of the parts times their weights. A part without a weight, as every guard is, adds nothing."""
    weights = rule.components
    return math.fsum(weights.get(name, 0.0) * amount for name, amount in components.items())


def total(rewards: Iterable[LedgerReward], rule: RewardRule) -> float | None:
    """One number from the rewards, in order of arrival; None if none of them counts.

    A reward of guards alone says nothing about the total: it is not even a zero among those that are averaged.
    """
    values = [one.value for one in rewards if _has_value(one, rule)]
    return aggregate(rule.aggregation, values) if values else None


def _has_value(reward: LedgerReward, rule: RewardRule) -> bool:
    return not reward.components or not rule.components.keys().isdisjoint(reward.components)


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
