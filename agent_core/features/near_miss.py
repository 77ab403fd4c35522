"""What a misspelt name was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_NAME = 64  # matching is quadratic in the length, and the name may come from a request


def near_miss(name: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'?" for the known name that is most like `name`, or "" when none is close."""
    matches = difflib.get_close_matches(name[:LONGEST_NAME], known, n=1)
    return f"did you mean {matches[0]!r}?" if matches else ""
