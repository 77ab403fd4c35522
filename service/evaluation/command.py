"""`nacre evaluate`: options in, a report out. 0 better, 1 anything else that was found, 2 a wrong question."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agent_core.errors import AgentCoreError
from service.evaluation.errors import EvaluationError
from service.evaluation.evaluate import evaluate
from service.evaluation.html import page
from service.evaluation.opening import FORMATS, LIVE, Place, opened
from service.evaluation.parallel import processes
from service.evaluation.schemas import EvaluationReport, EvaluationRequest
from service.settings import Settings

_FOUND, _NOT_BETTER, _WRONG = 0, 1, 2
STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Output:
    """Where a report goes; `STDOUT` for JSON means nothing else is printed there."""

    json: Path | None = None
    html: Path | None = None


def run_evaluate(
    settings: Settings,
    options: dict[str, object],
    log: tuple[str, str | None],
    workers: int,
    output: Output,
) -> int:
    """`options`: the fields of `EvaluationRequest`, as they were written. `log`: its place and its format."""
    try:
        request = _request(options)
        report = _evaluated(settings, request, placed(*log), workers)
        _write(report, output)
    except (EvaluationError, AgentCoreError, RedisError, OSError, BrokenExecutor) as error:
        print(f"cannot evaluate: {error}", file=sys.stderr)  # noqa: T201  # the command's output
        return _WRONG
    return _FOUND if report.verdict == "better" else _NOT_BETTER


def placed(log: str, form: str | None) -> Place:
    """The place of a log.

    Raises:
        EvaluationError: there is nothing, or there is no such format.
    """
    if form is not None and form not in FORMATS:
        raise EvaluationError(f"--format: `{form}` is none of {', '.join(FORMATS)}")
    if log == LIVE:
        return Place()
    path = Path(log)
    if not path.exists():
        raise EvaluationError(f"--log: {path} does not exist; check the path, or use `{LIVE}`")
    return Place(path, FORMATS.get(form or ""))


def parsed_weights(text: str | None) -> dict[str, float] | None:
    """`click=1,dwell_s=0.01` as a mapping, or the same in JSON, which has room for any name.

    Raises:
        EvaluationError: a part is no name with a number.
    """
    if text is None:
        return None
    if text.lstrip().startswith("{"):
        return _weights_in_json(text)
    return dict(_weight(part) for part in text.split(","))


def _weight(part: str) -> tuple[str, float]:
    name, _, number = part.strip().partition("=")
    if not name:
        raise _no_weight(part)
    try:
        return name, float(number)
    except ValueError:
        raise _no_weight(part) from None


def _weights_in_json(text: str) -> dict[str, float]:
    try:
        return msgspec.json.decode(text, type=dict[str, float])
    except msgspec.MsgspecError:
        raise _no_weight(text) from None


def _no_weight(found: str) -> EvaluationError:
    return EvaluationError(
        f"--weights: `{found}` is no weight; write a component and a number, such as click=1, or JSON"
        ' for a name with a comma: {"click": 1}'
    )


def parsed_baseline(text: str) -> float | str:
    """A number, or `logged`.

    Raises:
        EvaluationError: it is neither.
    """
    if text == "logged":
        return text
    try:
        return float(text)
    except ValueError:
        raise EvaluationError(f"--baseline: `{text}` is neither a number nor `logged`") from None


def _request(options: dict[str, object]) -> EvaluationRequest:
    written = dict(options)
    weights, baseline = written.get("weights"), written.get("baseline")
    written["weights"] = parsed_weights(None if weights is None else str(weights))
    written["baseline"] = parsed_baseline(str(baseline))
    # Through JSON, which refuses numbers that are not finite.
    try:
        body = msgspec.json.encode(written)
        return msgspec.json.decode(body, type=EvaluationRequest)
    except msgspec.ValidationError as error:
        raise EvaluationError(f"{error}; see nacre evaluate --help") from None


def _evaluated(
    settings: Settings, request: EvaluationRequest, place: Place, workers: int
) -> EvaluationReport:
    with opened(settings, request, place) as subject, processes(workers) as run:
        console = Console(stderr=True)
        total = subject.source.total if console.is_terminal else None
        with _progress(console, total) as bar:
            task = bar.add_task("reading", total=total)
            return evaluate(
                subject.source,
                subject.target,
                subject.request,
                subject.known,
                run=run,
                tell=lambda read: bar.update(task, completed=read),
            )


@contextmanager
def _progress(console: Console, total: int | None) -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield bar


def _write(report: EvaluationReport, output: Output) -> None:
    body = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if output.html is not None:
        output.html.write_text(page(report), "utf-8")
    if output.json == STDOUT:
        sys.stdout.write(body.decode())
        return
    if output.json is not None:
        output.json.write_bytes(body)
    _print(report)


def _print(report: EvaluationReport) -> None:
    console = Console()
    table = Table("estimator", "value", "low", "high", title=escape(f"{report.target} on {report.log}"), caption="* biased on purpose; its interval does not know")  # fmt: skip
    for one in report.estimates:
        name = f"{one.estimator} *" if one.is_biased else one.estimator
        table.add_row(name, *(_number(n) for n in (one.value, one.low, one.high)))
    if report.estimates:
        console.print(table)
    else:
        console.print(escape(f"{report.target} on {report.log}"), highlight=False, soft_wrap=True)
    facts = {
        "baseline": _number(report.baseline),
        f"lower bound ({report.bound})": _number(report.lower),
        f"{report.unit}s": f"{report.rows:,}, worth {report.effective_rows:,.1f}",
        "left out": ", ".join(f"{why} {n:,}" for why, n in report.skipped.items()) or "nothing",
    }
    for name, value in facts.items():
        console.print(f"{name:>24}  {escape(value)}", highlight=False, soft_wrap=True)
    for limit in report.constraints:
        holds = "holds" if limit.holds else "not shown to hold"
        console.print(
            f"{'constraint':>24}  {escape(limit.constraint)} {holds}",
            highlight=False,
            soft_wrap=True,
        )
    for row in report.refused[:5]:
        console.print(
            f"{'refused':>24}  {escape(row.row)}: {escape(row.why)}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"{'verdict':>24}  [bold]{report.verdict}[/bold]", highlight=False, soft_wrap=True
    )
    for reason in report.reasons:
        console.print(f"{'':>24}  {escape(reason)}", highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"
