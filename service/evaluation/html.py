"""A report as one HTML file that needs nothing else: no script, no picture from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from service.clock import rfc3339
from service.evaluation.drawing import Axis, Curve, Interval, bars, curves, forest, numbers_axis
from service.evaluation.schemas import EstimateReport, EvaluationReport, Verdict, WeightReport

_TONES: Final[dict[Verdict, str]] = {
    "better": "good",
    "not shown to be better": "plain",
    "estimators disagree": "bad",
    "not enough evidence": "plain",
    "no solution found": "bad",
}
_MEANINGS: Final[dict[Verdict, str]] = {
    "better": "The lower bound is above the baseline.",
    "not shown to be better": "The lower bound does not reach the baseline. That does not show it to be worse.",
    "estimators disagree": "Two estimators contradict each other, so one of them is biased. Do not act on either.",
    "not enough evidence": "The log cannot answer this question, whatever its numbers say.",
    "no solution found": "A constraint is not shown to hold.",
}
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2733; --dim: #66717f; --line: #dde3ea; --page: #f6f8fa;
  --card: #fff; --accent: #1f6feb; --other: #8a63d2; --good: #1a7f5a; --bad: #b3382c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ee; --dim: #97a3b0; --line: #303942;
  --page: #12171d; --card: #1a2129; --accent: #6aa8ff; --other: #b79bf0; --good: #4cc38a; --bad: #ff8a7a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 880px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0 0 12px; }
p { margin: 0 0 10px; } .dim { color: var(--dim); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px;
  margin-top: 18px; overflow-x: auto; }
.verdict { border-left: 6px solid var(--dim); } .verdict.good { border-left-color: var(--good); }
.verdict.bad { border-left-color: var(--bad); } .verdict strong { font-size: 20px; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; }
.numbers div { display: flex; flex-direction: column-reverse; } .numbers dd { margin: 0; font-size: 20px; }
.numbers dt { color: var(--dim); font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--dim); font-weight: 500; font-size: 13px; }
th:first-child, td:first-child { text-align: left; } td.text { text-align: left; white-space: normal; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--dim); font-size: 11px; }
.grid { stroke: var(--line); } .bar { fill: var(--accent); } .dot { fill: var(--accent); }
.line { fill: none; stroke: var(--accent); stroke-width: 2; } .line.logged { stroke: var(--other); }
.whisker { stroke: var(--accent); stroke-width: 2; } .baseline { stroke: var(--bad); stroke-dasharray: 4 3; }
"""


def page(report: EvaluationReport) -> str:
    """The whole file."""
    title = f"{report.target} on {report.log}"
    parts = [_verdict(report), _numbers(report), _estimates(report), _bounds(report)]
    if report.constraints:
        parts.append(_constraints(report))
    if report.weights is not None:
        parts += [_weights(report.weights), *_over_time(report)]
    parts.append(_left_out(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(report.target)}</h1>"
        f'<p class="dim">Evaluated on {escape(report.log)}{escape(_period(report))}</p>'
        f"{''.join(parts)}</main></body></html>\n"
    )


def _period(report: EvaluationReport) -> str:
    since = f", from {report.since}" if report.since else ""
    return since + (f", until {report.until}" if report.until else "")


def _verdict(report: EvaluationReport) -> str:
    reasons = "".join(f"<p>{escape(reason)}</p>" for reason in report.reasons)
    return (
        f'<section class="verdict {_TONES[report.verdict]}"><strong>{escape(report.verdict)}</strong>'
        f"<p>{escape(_MEANINGS[report.verdict])}</p>{reasons}</section>"
    )


def _numbers(report: EvaluationReport) -> str:
    pairs = [
        (f"value per {report.unit}", _number(report.value)),
        (f"lower bound ({report.bound}, {1 - report.delta:.4g})", _number(report.lower)),
        ("baseline", _number(report.baseline)),
        ("earned by the log", _with_error(report.logged, report.logged_error)),
        (f"{report.unit}s", f"{report.rows:,}"),
        (f"effective, of {report.effective_rows_needed:,.0f} needed", f"{report.effective_rows:,.1f}"),
    ]  # fmt: skip
    listed = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for name, value in pairs)  # fmt: skip
    return f'<section><dl class="numbers">{listed}</dl></section>'


def _estimates(report: EvaluationReport) -> str:
    known = [one for one in report.estimates if one.value is not None]
    rows = [Interval(_starred(one), one.value, one.low, one.high) for one in known if one.value is not None]  # fmt: skip
    drawn = forest(rows, report.baseline, "Estimates with intervals") if rows else ""
    table = _table(
        ("estimator", "value", "standard error", "low", "high", "parameter"),
        [
            (
                _starred(one),
                *(_number(n) for n in (one.value, one.standard_error, one.low, one.high)),
                "" if one.parameter is None else f"{one.parameter:g}",
            )
            for one in report.estimates
        ],
    )
    note = (
        f"Intervals hold with a probability of {1 - report.delta:.4g}, but for estimators with a star: these trade "
        "bias for variance, which their intervals do not know. The dashed line is the baseline."
    )
    return f'<section><h2>Estimates</h2>{drawn}{table}<p class="dim">{escape(note)}</p></section>'


def _starred(one: EstimateReport) -> str:
    return f"{one.estimator} *" if one.is_biased else one.estimator


def _bounds(report: EvaluationReport) -> str:
    rows = [(name, _number(lower)) for name, lower in report.bounds.items()]
    return f"<section><h2>Lower bounds</h2>{_table(('bound', 'value is above'), rows)}</section>"


def _constraints(report: EvaluationReport) -> str:
    rows = [
        (
            one.constraint,
            "holds" if one.holds else "not shown to hold",
            _number(one.value),
            _number(one.upper),
            _number(one.expected),
            "seen" if one.assumed else "declared",
        )
        for one in report.constraints
    ]
    head = ("constraint", "", "value", "bound", "bound that was expected", "range")
    note = "Judged on the four fifths of the log on which nothing was chosen."
    return f'<section><h2>Constraints</h2>{_table(head, rows)}<p class="dim">{note}</p></section>'


def _weights(weights: WeightReport) -> str:
    labels = ["0", *(f"<{edge:.4g}" for edge in weights.edges), f"{weights.edges[-1]:.4g}+"]
    facts = (
        f"mean {weights.mean:.4f} (standard error {weights.mean_error:.4f}, and 1 but for chance), "
        f"largest {weights.largest:,.4g}, overlap {weights.overlap:.3f}"
    )
    drawn = bars(labels, weights.histogram, "Rows by their weight")
    return f'<section><h2>Weights</h2>{drawn}<p class="dim">{escape(facts)}</p></section>'


def _over_time(report: EvaluationReport) -> list[str]:
    """The effective size over rows, and both values over time."""
    moments = report.over_time
    rows = [sum(one.rows for one in moments[: i + 1]) for i in range(len(moments))]
    sizes = curves(
        numbers_axis([0.0, *rows]),
        numbers_axis([0.0, *(one.effective_rows for one in moments)]),
        [Curve("effective", "target", tuple((float(r), m.effective_rows) for r, m in zip(rows, moments, strict=True)))],
        "Effective size over rows",
    )  # fmt: skip
    found = [f"<section><h2>Effective {report.unit}s, as the log grew</h2>{sizes}</section>"]
    values = [v for one in moments for v in (one.value, one.logged) if v is not None]
    # Where all happened at one moment, or nobody knows when, parts end within 1 ms.
    if values and moments[-1].until_ms - moments[0].until_ms > 1:
        places = [(float(one.until_ms), one.value, one.logged) for one in moments]
        both = [
            Curve("target", "target", tuple(None if v is None else (t, v) for t, v, _ in places)),
            Curve("log", "logged", tuple(None if v is None else (t, v) for t, _, v in places)),
        ]
        drawn = curves(_time_axis(moments[0].until_ms, moments[-1].until_ms), numbers_axis(values), both, "Value over time")  # fmt: skip
        found.append(f"<section><h2>Value over time</h2>{drawn}</section>")
    return found


def _time_axis(begin_ms: int, end_ms: int) -> Axis:
    places = [begin_ms + (end_ms - begin_ms) * i // 3 for i in range(4)]
    # Minutes tell nothing of a log of some minutes.
    shown = 16 if end_ms - begin_ms > 600_000 else 19
    ticks = tuple((float(at), rfc3339(at)[:shown].replace("T", " ")) for at in places)
    return Axis(float(begin_ms), float(end_ms), ticks)


def _left_out(report: EvaluationReport) -> str:
    if not report.skipped and not report.refused:
        return '<section><h2>Left out</h2><p class="dim">Every row was used.</p></section>'
    counts = _table(("reason", "rows"), [(why, f"{n:,}") for why, n in report.skipped.items()])
    rows = "".join(
        f'<tr><td>{escape(one.row)}</td><td class="text">{escape(one.why)}</td></tr>'
        for one in report.refused
    )
    refused = f'<table><tr><th>row</th><th class="text">why</th></tr>{rows}</table>' if rows else ""
    return f"<section><h2>Left out</h2>{counts}{refused}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{titles}</tr>{lines}</table>"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"


def _with_error(value: float | None, error: float | None) -> str:
    return _number(value) + ("" if error is None else f" ± {error:.2g}")
