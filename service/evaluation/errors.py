"""Why an evaluation cannot be made at all. A row that cannot be used is no error: it is told and left out."""

from __future__ import annotations


class EvaluationError(Exception):
    """The question or the log makes no sense; says what was found, what was expected, and what to do."""
