"""A small write-ahead file for commands that Redis has not confirmed.

Record: 4-byte length, 4-byte CRC-32, bytes. A torn or corrupt tail is skipped and counted: everything
before it is still delivered. Commands are idempotent, so delivering one twice changes nothing.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import structlog

from service import metrics

log = structlog.get_logger(__name__)
_HEAD = struct.Struct("<II")


class Spool:
    """One append-only file. It survives the death of the process, not of the machine's disk cache."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.torn = 0
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise
        self._size = os.fstat(self._file.fileno()).st_size

    @classmethod
    def claim(cls, directory: Path) -> Spool:
        """The first spool in `directory` that no living process holds, with all orphans' records."""
        mine: Spool | None = None
        for number in range(len(list(directory.glob("*.spool"))) + 1):
            try:
                spool = cls(directory / f"{number}.spool")
            except BlockingIOError:
                continue
            if mine is None:
                mine = spool
            else:
                mine._adopt(spool)
        assert mine is not None, "one more name than files exist is tried"
        return mine

    def _adopt(self, orphan: Spool) -> None:
        for command in orphan.read():
            self.append(command)
        orphan.clear()
        orphan.close()

    @property
    def is_empty(self) -> bool:
        return self._size == 0

    def append(self, command: bytes) -> None:
        self._size += self._file.write(_HEAD.pack(len(command), zlib.crc32(command)) + command)

    def read(self) -> Iterator[bytes]:
        """Every whole record, oldest first."""
        self._file.seek(0)
        data = self._file.read()
        at = 0
        while at < len(data):
            head = data[at : at + _HEAD.size]
            command = data[at + _HEAD.size :][: _HEAD.unpack(head)[0]] if len(head) == 8 else b""
            if len(head) < _HEAD.size or _HEAD.unpack(head) != (len(command), zlib.crc32(command)):
                self.torn += 1
                metrics.LOST.labels("torn_spool").inc()
                log.warning("spool_tail_skipped", skipped_bytes=len(data) - at)
                return
            yield command
            at += _HEAD.size + len(command)

    def clear(self) -> None:
        self._file.truncate(0)
        self._size = 0

    def close(self) -> None:
        self._file.close()
