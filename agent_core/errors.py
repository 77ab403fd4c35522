"""Everything that agent_core raises on purpose.

AgentCoreError
├── ConfigError          a policy file cannot work; carries every problem at once
├── FeatureError         an input does not fit the declared features; names the place
├── EmptyActionSetError  nothing is left to choose from
├── NonFiniteScoresError a policy produced NaN or infinity
├── TransitionError      a transition is not one that the learner was built for
├── RankLostError        the processes of one training no longer work together
└── SnapshotError        a snapshot or checkpoint must not be used; says why
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class AgentCoreError(Exception):
    """Root of the tree above."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong with a policy file: where, what, and how to mend it."""

    path: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.fix}"


class ConfigError(AgentCoreError):
    """A policy file cannot work. `problems` lists every conflict, never only the first."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class FeatureError(AgentCoreError):
    """An input does not fit the declared features.

    `pointer` is a JSON pointer below the value that was encoded ("" for the value itself, "/user/age"
    for a named feature, "/3/vector" for the fourth action); `code` is stable and machine-readable.
    """

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        self.pointer = pointer
        self.code = code
        self.detail = detail
        super().__init__(f"{pointer or '/'}: {detail}")


class EmptyActionSetError(AgentCoreError):
    """No action is left after exclusion and safety."""


class NonFiniteScoresError(AgentCoreError):
    """A policy scored an action with NaN or infinity."""


class TransitionError(AgentCoreError):
    """A transition is not one that the learner was built for. `problems`: all that is wrong with it.

    `decision_id`: None where it is a whole block that is wrong.
    """

    def __init__(self, decision_id: str | None, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        is_block = decision_id is None
        where = "a block of transitions" if is_block else f"transition {decision_id!r}"
        super().__init__(f"{where}: {'; '.join(problems)}")


class RankLostError(AgentCoreError):
    """One of the processes of a training is gone, silent, or did what the others did not.

    What this process holds may be half an update: it must end, and begin again from a checkpoint.
    """


class SnapshotError(AgentCoreError):
    """A snapshot or checkpoint must not be used.

    `reason` is one of `truncated`, `hash`, `format`, `schema`, `non_finite`, `missing`, `probe`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")
