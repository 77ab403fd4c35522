"""What a step knows of its episode, from what Redis says of it."""

from __future__ import annotations

from typing import Any

import pytest

from service.decisions.past import FRESH, UNAVAILABLE, Past, kept_after, past_of
from service.decisions.schemas import HistoryNote
from service.redis_link import UNCONFIRMED

SCHEMA = "fs:1"


def kept(step: int, before: Past) -> list[bytes]:
    """The reply of Redis once `step` was decided with `before`."""
    return [b"%d" % step, kept_after(before, step, SCHEMA, b"carry")]


@pytest.mark.parametrize(
    ("reply", "step", "expected"),
    [
        ([None, None], 5, FRESH),
        (kept(0, FRESH), 1, Past(b"carry")),
        (kept(3, Past(b"before")), 5, Past(b"carry", "partial")),
        (kept(4, Past(b"before")), 5, Past(b"carry")),
        (kept(5, Past(b"before")), 5, FRESH),
        (kept(9, Past(b"before")), 5, FRESH),
        (UNCONFIRMED, 5, UNAVAILABLE),
    ],
    ids=[
        "nothing was decided before",
        "the first step, which is all there was",
        "a gap",
        "the step before",
        "its own step, which is being sent again",
        "a later step",
        "Redis did not answer",
    ],
)
def test_what_a_step_knows(reply: Any, step: int, expected: Past) -> None:
    assert past_of(reply, step, SCHEMA) == expected


@pytest.mark.parametrize(
    ("note", "step"), [("partial", 4), ("unavailable", 4), ("fresh", 4), ("unavailable", 0)]
)
def test_what_one_step_did_not_know_the_steps_after_it_do_not_know_either(
    note: HistoryNote, step: int
) -> None:
    after = past_of(kept(step, Past(b"", note)), step + 1, SCHEMA)

    assert after == Past(b"carry", "partial")


def test_a_carry_of_other_features_is_not_used() -> None:
    assert past_of(kept(0, FRESH), 1, "fs:2") == FRESH
