"""Logs of one decision a line: JSONL and DSJSON, plain or compressed.

A bad line is told with its number, and the next one is read.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias, cast

import msgspec

from service.evaluation.dsjson import DsjsonReader
from service.evaluation.errors import EvaluationError
from service.evaluation.plain import PlainEncoding
from service.evaluation.rows import LogRow, RowEncoding, step_of
from service.evaluation.sources.account import UNUSABLE, Account, said
from service.evaluation.steps import LoggedStep, RefusedRow
from service.policies.encoding import Encoding

_BLOCK: Final = 1 << 20
_REMEMBERED: Final = 100_000
"""Decision ids: what is logged twice is mostly logged twice soon."""
_NOT_A_NUMBER: Final = re.compile(rb"[:,\[]\s*(NaN|-?Infinity)\b")
_BROKEN: Final = (OSError, EOFError, zlib.error)

RowReader: TypeAlias = Callable[[bytes], LogRow | str]
"""The row of a line, or the reason for which it is rightly left out."""


def open_jsonl(path: Path, encoding: Encoding | None = None) -> LinesSource:
    """A log in the format of `service.evaluation.rows`. `encoding`: of a policy; without one, vectors are used as
    they are.

    Raises:
        EvaluationError: there is no such file.
    """
    return LinesSource(_existing(path), lambda: _row, encoding or PlainEncoding())


def open_dsjson(path: Path, encoding: Encoding | None = None) -> LinesSource:
    """A log of Vowpal Wabbit. `encoding`: of a policy that declares its features; without one they are hashed.

    Raises:
        EvaluationError: there is no such file.
    """
    return LinesSource(_existing(path), lambda: DsjsonReader().row, encoding or PlainEncoding())


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise EvaluationError(f"{path} is not a file; check the path")
    return path


_row: Final = cast("RowReader", msgspec.json.Decoder(LogRow).decode)


class LinesSource:
    """One file. `reader`: makes what reads its lines, anew for every time that it is read."""

    def __init__(self, path: Path, reader: Callable[[], RowReader], encoding: RowEncoding) -> None:
        self._path = path
        self._reader = reader
        self._encoding = encoding
        self._account = Account()

    @property
    def refused(self) -> list[RefusedRow]:
        return self._account.refused

    @property
    def skipped(self) -> Mapping[str, int]:
        return self._account.skipped

    @cached_property
    def total(self) -> int | None:
        """How many lines there are; None where the file cannot be read to its end."""
        try:
            with _opened(self._path) as file:
                return sum(block.count(b"\n") for block in iter(partial(file.read, _BLOCK), b""))
        except _BROKEN:
            return None

    def __iter__(self) -> Iterator[LoggedStep]:
        account = self._account = Account()
        read, seen = self._reader(), _Recent()
        for where, line in self._lines(account):
            try:
                row = read(line)
                step = row if isinstance(row, str) else step_of(row, self._encoding, where)
            except UNUSABLE as error:
                account.refuse(where, _why(line, error))
                continue
            if isinstance(step, str):
                account.skip(step)
            elif seen.is_repeated(step.decision_id):
                account.skip("repeated")
            else:
                yield step

    def _lines(self, account: Account) -> Iterator[tuple[str, bytes]]:
        """Lines that are not blank, with their places."""
        number = 0
        try:
            with _opened(self._path) as file:
                for number, line in enumerate(file, 1):
                    if line := line.strip():
                        yield f"{self._path.name}:{number}", line
        except _BROKEN as error:
            why = f"the file cannot be read any further ({error}); what came before counts; copy it again"
            account.refuse(f"{self._path.name}:{number + 1}", why)


class _Recent:
    """The decision ids of the last rows."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_repeated(self, decision_id: str) -> bool:
        """Whether it is one of them; it is from now on."""
        if decision_id in self._ids:
            return True
        self._ids[decision_id] = None
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)
        return False


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _why(line: bytes, error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return f"{error}; see docs/log_formats.md"
    if isinstance(error, msgspec.MsgspecError):
        if _NOT_A_NUMBER.search(line):
            return (
                "NaN and Infinity are no JSON and no outcomes; mend the log, or leave the row out"
            )
        return f"{error}; each line must be one whole JSON object"
    return said(error)
