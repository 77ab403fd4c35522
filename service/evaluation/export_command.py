"""`nacre export`: a log as a file that other tools read. 0 written, 2 impossible."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from redis.exceptions import RedisError

from agent_core.errors import AgentCoreError
from service.evaluation.command import placed
from service.evaluation.errors import EvaluationError
from service.evaluation.export import write_dsjson, write_jsonl
from service.evaluation.opening import opened
from service.evaluation.schemas import EvaluationRequest
from service.evaluation.steps import LoggedStep
from service.settings import Settings

_WRITERS = {".jsonl": write_jsonl, ".dsjson": write_dsjson}


def run_export(
    settings: Settings,
    path: Path,
    policy: str | None,
    log: str,
    period: tuple[str | None, str | None],
) -> int:
    """Writes the decisions whose reward is known. `period`: since, until."""
    since, until = period
    request = EvaluationRequest(target="behaviour", policy=policy, since=since, until=until)
    try:
        write = _writer(path)
        with opened(settings, request, placed(log, None)) as subject:
            count = write(subject.source, path)
            skipped = dict(subject.source.skipped)
    except (EvaluationError, AgentCoreError, RedisError, OSError) as error:
        print(f"cannot export: {error}", file=sys.stderr)  # noqa: T201  # the command's output
        return 2
    left_out = ", ".join(f"{why} {n:,}" for why, n in skipped.items()) or "nothing"
    print(f"{path}: {count:,} decisions; left out: {left_out}")  # noqa: T201
    return 0


def _writer(path: Path) -> Callable[[Iterable[LoggedStep], Path], int]:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    found = _WRITERS.get(suffixes[-1] if suffixes else "")
    if found is None:
        raise EvaluationError(
            f"{path} does not tell its format; end its name in .jsonl or .dsjson, and .gz to compress it"
        )
    return found
