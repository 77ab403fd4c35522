"""The failure table: what goes wrong with services like this one, and which tests hold it here.

A test that covers a row says so in its docstring: "Failure table row 7", "rows 15 and 31", "rows 21 to 24".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = {
    1: "a reward is sent twice",
    2: "a reward id is used again with another value",
    3: "a reward comes after its decision was closed",
    4: "a reward comes before its decision",
    5: "a reward for an unknown or foreign decision",
    6: "a deferred decision is never activated",
    7: "no reward comes: the default counts, once",
    8: "aggregation of all-negative, equal, single or no rewards",
    9: "the logged propensity is not the probability of what was played",
    11: "a propensity of zero, rounded or made up",
    13: "something is dropped and nobody counts it",
    14: "a queue grows without bound",
    15: "a crash between the answer and the log",
    16: "a torn record at the end of a file",
    17: "what is delivered or learned again counts twice",
    18: "clocks disagree, events arrive out of order",
    20: "features at serving differ from features at training",
    21: "NaN, infinity and huge numbers in features, rewards, weights",
    22: "coerced types, duplicate keys, deep nesting, large and slow bodies",
    23: "no action is left to choose",
    24: "unknown, repeated or missing action ids",
    25: "an action that the model has never seen, an id that is used again",
    27: "a model is swapped while requests are in flight",
    28: "a model is published by halves",
    29: "a poisoned, truncated or unfitting checkpoint",
    30: "a rollback while rewards of the bad model arrive",
    31: "Redis, worker or learner is away",
    32: "a Redis failover loses acknowledged writes",
    33: "Redis is full, or evicts",
    37: "episodes interleave, skip, repeat or end at once",
    39: "a typo in a mode or a policy file",
    41: "data is run as code",
    42: "one bad request ends the process",
}
_NAMED = re.compile(
    r"failure\s+table\s+rows?\s+(\d+(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s+to\s+)\d+)*)", re.I
)
_PART = re.compile(r"(\d+)(?:\s+to\s+(\d+))?")


def _rows_in(text: str) -> Iterator[int]:
    for named in _NAMED.finditer(text):
        for part in _PART.finditer(named[1]):
            yield from range(int(part[1]), int(part[2] or part[1]) + 1)


@pytest.fixture(scope="module")
def covered() -> set[int]:
    files = (file for file in TESTS.rglob("test_*.py") if file != Path(__file__))
    return {row for file in files for row in _rows_in(file.read_text("utf-8"))}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row} {ROWS[row]}")
def test_every_row_is_held_by_a_test(row: int, covered: set[int]) -> None:
    assert row in covered


def test_rows_are_read_as_they_are_written() -> None:
    text = "Failure table row 7. failure table rows 21 to 24. Failure\ntable rows 1, 3 and 5, 9"

    assert list(_rows_in(text)) == [7, 21, 22, 23, 24, 1, 3, 5, 9]
