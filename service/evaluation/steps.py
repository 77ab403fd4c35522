"""What every log becomes before it is evaluated: decisions with what came of them, encoded.

    source        one log, of whatever form: iterating it yields `LoggedStep`s, oldest first
    target        what another policy would have done in each of them
    evaluation    columns, estimators, a verdict

A row that cannot be used is told, with its place and what to do, and costs no other row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from agent_core.types import ActionSet, Doubles, Floats, Mask
from service.decisions.repository import EpisodePlace


@dataclass(frozen=True, slots=True, eq=False)
class LoggedStep:
    """One decision that somebody took, and its reward.

    `row`: where it is from, for people: `part-1-0_9-0.parquet, decision d1` or `log.jsonl:17`. `state`: `[S]` with
    the history that it was made with. `actions`: all A that were available; a continuous action is a set of that
    one. `allowed`: `[A]` bool, None if all were. `action`: the position of what was done. `propensity`: its
    probability in (0, 1], or its density above 0, under everything that really ran. `behaviour`: `[A]`, the
    logged probabilities of all, where they are known. `components`: parts of the reward by name. `target`:
    `[A]`, the probabilities of a policy to evaluate, where the log brings them itself.
    """

    row: str
    decision_id: str
    at_ms: int
    state: Floats
    actions: ActionSet
    action: int
    propensity: float
    reward: float
    cost: float = 0.0
    allowed: Mask | None = None
    behaviour: Doubles | None = None
    components: Mapping[str, float] = field(default_factory=dict)
    place: EpisodePlace | None = None
    is_terminated: bool = False
    model_version: str = ""
    target: Doubles | None = None


class RefusedRow(Struct, frozen=True):
    """A row that was left out: where it is, why, and what to do."""

    row: str
    why: str


class Source(Protocol):
    """A log. `refused` and `skipped` are complete once it was read to the end."""

    @property
    def refused(self) -> list[RefusedRow]:
        """The first hundred rows that could not be used."""
        ...

    @property
    def skipped(self) -> Mapping[str, int]:
        """How many rows were left out, by reason; with all that were refused."""
        ...

    @property
    def total(self) -> int | None:
        """How many rows there are, for a progress bar; None if that is not known."""
        ...

    def __iter__(self) -> Iterator[LoggedStep]: ...
