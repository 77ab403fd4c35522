"""What the watching of a policy remembers when its worker ends."""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec
import structlog
from msgspec import Struct

from service.monitoring.judge import Alarm
from service.monitoring.rows import Sample
from service.monitoring.sampling import Budget
from service.monitoring.signals.drop import Bet
from service.monitoring.windows import PackedSeries, PackedWindow
from service.policies.config import PolicyConfig
from service.policies.schemas import PolicyEvent
from service.trips.constraints import Evidence, TooMuch

log = structlog.get_logger(__name__)

_FORMAT: Final = 1


class Kept(Struct):
    """All that survives the worker. `declared`: the fingerprint of the policy that it belongs to. `lineage`: of
    versions, -1 before it is known. `arm`: whose outcomes are judged, of decisions made since `since_ms`. `pending`:
    samples that are not encoded yet. `detector`: of fallen rewards, as `EDetector` keeps it. `too_much`: single
    costs nobody looked into yet. `streak`: windows in a row with other states. `asked_ms`: when training
    was asked for last. `moves`: trips and recoveries that nobody was told of yet. `is_to_forget`: somebody wants another
    reference. `ended`: alarms that are over, by another declaration or a recovery, and that nobody was told the
    end of yet."""

    declared: str
    budget: Budget
    format: int = _FORMAT
    lineage: int = -1
    arm: Literal["live", "fallback"] = "live"
    since_ms: int = 0
    pending: list[Sample] = []
    outcomes: PackedSeries = PackedSeries(None, [])
    decisions: PackedSeries = PackedSeries(None, [])
    collecting: dict[str, PackedWindow] = {}
    last: PackedWindow | None = None
    alarms: dict[str, Alarm] = {}
    bet: Bet | None = None
    detector: tuple[float, float] = (-math.inf, -math.inf)
    evidence: dict[str, Evidence] = {}
    too_much: list[TooMuch] = []
    streak: int = 0
    asked_ms: int = 0
    moves: list[PolicyEvent] = []
    is_to_forget: bool = False
    ended: dict[str, Alarm] = {}


encode_kept = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


def read_kept(state: bytes, config: PolicyConfig) -> Kept:
    """What was kept, or a new beginning where nothing was, or for a policy that is declared otherwise now."""
    fresh = Kept(config.fingerprint, Budget(config.monitoring.samples_per_s))
    if not state:
        return fresh
    try:
        kept = _decode(state)
    except msgspec.MsgspecError as error:
        log.warning("watching_begins_anew", policy=config.policy, why=str(error))
        return fresh
    if kept.format != _FORMAT:
        return fresh
    return kept if kept.declared == config.fingerprint else _redeclared(kept, fresh)


def _redeclared(kept: Kept, fresh: Kept) -> Kept:
    """`fresh`, with what others have yet to be told, and when training was asked for last."""
    fresh.ended = kept.alarms | kept.ended
    fresh.moves, fresh.asked_ms = kept.moves, kept.asked_ms
    fresh.is_to_forget = kept.is_to_forget
    return fresh
