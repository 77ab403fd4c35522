"""Opens the log of a registered policy: its archive alone, or with what only Redis has yet.

with open_live(redis_url, archive, "home", Choice(weights={"click": 2.0})) as source:
    for step in source: ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from service.archive.parts import list_parts, read_archive
from service.evaluation.errors import EvaluationError
from service.evaluation.sources.joined import ALWAYS, Kind, Period
from service.evaluation.sources.live import LiveLog
from service.evaluation.sources.log import EventLog, LogSource
from service.evaluation.sources.repository import PolicyReader, reading


@dataclass(frozen=True, slots=True)
class Choice:
    """Which decisions of a log, and how they are rewarded; see `LogSource`. `feature_schema`: None is that of
    the policy as it is configured now."""

    kind: Kind = "decision"
    period: Period = ALWAYS
    weights: Mapping[str, float] | None = None
    feature_schema: str | None = None


ALL: Final = Choice()


@contextmanager
def open_archive(
    redis_url: str, archive: Path, policy: str, choice: Choice = ALL
) -> Iterator[LogSource]:
    """The archived log of a policy; `archive` is the folder of all policies. Redis says how it was encoded.

    Raises:
        EvaluationError: there is no such policy or no archive of it, or a weight is wrong.
        RedisError: Redis does not answer.
    """
    folder = archive / policy
    if not list_parts(folder):
        raise EvaluationError(
            f"{folder} has no parts of an archive; check the path, or use the live log"
        )
    with reading(redis_url, policy) as reader:
        yield _source(read_archive(folder), reader, choice, _count(folder, choice.kind))


@contextmanager
def open_live(
    redis_url: str, archive: Path, policy: str, choice: Choice = ALL
) -> Iterator[LogSource]:
    """The whole log of a policy up to the moment when it is read.

    Raises:
        EvaluationError: there is no such policy, or a weight is wrong.
        RedisError: Redis does not answer.
    """
    with reading(redis_url, policy) as reader:
        yield _source(LiveLog(archive / policy, reader), reader, choice, None)


def _source(log: EventLog, reader: PolicyReader, choice: Choice, total: int | None) -> LogSource:
    config = reader.config
    return LogSource(
        log,
        reader.frame_of,
        config.reward,
        choice.feature_schema or config.agent.feature_schema,
        kind=choice.kind,
        period=choice.period,
        weights=choice.weights,
        total=total,
    )


def _count(folder: Path, kind: Kind) -> int:
    """How many decisions the parts name; where parts overlap, a few too many."""
    count = 0
    for part in list_parts(folder):
        try:
            types = pq.read_table(part.path, columns=["type"], use_threads=False)["type"]
        except (pa.ArrowException, OSError, ValueError):
            continue  # reading it tells
        count += pc.sum(pc.equal(types, kind)).as_py() or 0
    return count
