"""What windows are made of: decisions that were read whole, and outcomes of decisions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from agent_core.monitoring.propensities import Choices
from agent_core.types import Doubles, Floats, Integers
from service.decisions.records import DecisionRecord, act_request
from service.decisions.schemas import Observation
from service.joining.logic import JoinedEvent

CELLS: Final = 64
"""Actions are counted by a hash of their id: catalogs grow, and this does not."""
_DRAWN: Final = frozenset({"policy", "explore", "fallback"})
_NUMBERS: Final = "<f8"


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One decision, as much of it as is compared.

    `config_hash`, `catalog`: what its observation is encoded with. `arm`: that decided. `cells`: of the available
    actions; empty for continuous ones. `probabilities`: of the same. `position`: of the action that was
    taken among them. `drawn`: whether it was drawn from these probabilities. `is_late`: it ran out of time.
    `took_us`: how long it took.
    """

    at_ms: int
    decision_id: str
    config_hash: str
    catalog: int
    arm: str
    observation: Observation
    cells: bytes
    probabilities: bytes
    position: int
    propensity: float
    drawn: bool
    is_late: bool
    took_us: int


class _Action(msgspec.Struct, frozen=True, gc=False):
    id: str = ""


class _Ranked(msgspec.Struct, frozen=True, gc=False):
    id: str
    probability: float


class _Arm(msgspec.Struct, frozen=True, gc=False):
    arm: str = ""


class _Detail(msgspec.Struct, frozen=True, gc=False):
    fallback: str | None = None


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """The part of either kind of answer that is compared."""

    config_hash: str
    action: _Action
    propensity: float | None
    reason: str
    reasons_detail: _Detail
    assignment: _Arm
    ranking: list[_Ranked] = []


_answer = msgspec.json.Decoder(_Answer).decode


def sample_of(record: DecisionRecord, at_ms: int) -> Sample:
    """What is compared of a decision. `at_ms`: when the log took it in.

    Raises:
        msgspec.MsgspecError: its request or its answer cannot be read.
    """
    request, answer = act_request(record), _answer(record.response)
    probabilities = np.array([one.probability for one in answer.ranking], _NUMBERS)
    return Sample(
        at_ms,
        record.decision_id,
        answer.config_hash,
        record.catalog,
        answer.assignment.arm,
        request.observation,
        bytes(cell_of(one.id) for one in answer.ranking),
        probabilities.tobytes(),
        next((at for at, one in enumerate(answer.ranking) if one.id == answer.action.id), -1),
        answer.propensity or 0.0,
        bool(answer.ranking) and answer.reason in _DRAWN,
        answer.reasons_detail.fallback == "deadline",
        record.took_us,
    )


def cell_of(action_id: str) -> int:
    """In [0, CELLS), the same in every process."""
    return zlib.crc32(action_id.encode()) % CELLS


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A sample and its encoded observation `[O]`, None where it cannot be encoded any more. `is_judged`: it is of
    the arm that is judged."""

    sample: Sample
    observation: Floats | None
    is_judged: bool

    @property
    def at_ms(self) -> int:
        return self.sample.at_ms


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a decision, and when the log took that in."""

    at_ms: int
    joined: JoinedEvent


def choices_of(rows: Sequence[Seen]) -> tuple[Choices, Integers] | None:
    """The drawn decisions among `rows` as columns, and the cells `[N]` of all their actions; None without any."""
    drawn = [row.sample for row in rows if row.sample.drawn]
    if not drawn:
        return None
    sizes = [len(one.cells) for one in drawn]
    probability = np.frombuffer(b"".join(one.probabilities for one in drawn), _NUMBERS)
    choices = Choices(
        np.array([one.position for one in drawn]),
        np.array([one.propensity for one in drawn]),
        probability,
        np.concatenate([[0], np.cumsum(sizes)]),
    )
    cells = np.frombuffer(b"".join(one.cells for one in drawn), np.uint8)
    return choices, cells.astype(np.int64)


def column(values: Sequence[float]) -> Doubles:
    """`[T, 1]`."""
    return np.array(values, np.float64)[:, None]
