"""Writes a log as JSONL or as DSJSON, whole or not at all."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from service.errors import InvalidError
from service.evaluation import dsjson
from service.evaluation.errors import EvaluationError
from service.evaluation.rows import LogRow, row_of
from service.evaluation.steps import LoggedStep


def write_jsonl(steps: Iterable[LoggedStep], path: Path) -> int:
    """Writes one row a step, compressed where `path` ends in `.gz`; returns how many.

    Raises:
        OSError: the disk is full or not there; nothing is left behind.
    """
    return _write(steps, path, msgspec.json.encode)


def write_dsjson(steps: Iterable[LoggedStep], path: Path) -> int:
    """The same, for `vw --dsjson`.

    Raises:
        EvaluationError: a step has a continuous action; nothing is left behind.
        OSError: as `write_jsonl`.
    """
    return _write(steps, path, dsjson.line_of)


def _write(steps: Iterable[LoggedStep], path: Path, line_of: Callable[[LogRow], bytes]) -> int:
    count = 0
    with _replacing(path) as file:
        for step in steps:
            try:
                file.write(line_of(row_of(step)) + b"\n")
            except InvalidError as error:
                raise EvaluationError(f"{step.row}: {error.detail}") from None
            count += 1
    return count


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is whole and on disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
                    yield cast("BinaryIO", packed)
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
