"""What a demo ends with when it cannot go on."""

from __future__ import annotations


class DemoError(Exception):
    """Something that a demo waits for did not happen."""
