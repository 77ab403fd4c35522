"""What is told of the results, and RESULTS.md, the page of all of them.

`python -m benchmarks.paper.report` judges everything in results/ anew, draws it and writes the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.paper.results import Finding, SuiteResult, plot
from benchmarks.paper.suites import SUITES

RESULTS: Final = Path(__file__).parent / "results"
PAGE: Final = Path(__file__).parent / "RESULTS.md"
COLUMNS: Final = ("claim", "measured", "reference", "")


def main() -> None:
    for result in stored():
        write(judged(result), RESULTS / f"{result.suite}.json")
    write_page()


def stored() -> list[SuiteResult]:
    """What is in results/, in the order of `SUITES`."""
    paths = [RESULTS / f"{name}.json" for name in SUITES]
    return [read(path) for path in paths if path.exists()]


def read(path: Path) -> SuiteResult:
    """What `write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=SuiteResult)


def judged(result: SuiteResult) -> SuiteResult:
    """`result` with the claims that its suite makes today."""
    return msgspec.structs.replace(result, headline=SUITES[result.suite].judged(result.outcomes))


def write(result: SuiteResult, path: Path) -> None:
    """The result as JSON, and its curves beside it, if it has any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    if result.has_curves:
        plot(result, path.with_suffix(".png"))


def write_page() -> None:
    """RESULTS.md, from results/."""
    PAGE.write_text(page(stored()), "utf-8")


def page(results: Sequence[SuiteResult]) -> str:
    """RESULTS.md."""
    parts = ["# The paper's claims, measured", _INTRODUCTION, _summary(results), _missing(results)]
    parts += [part for result in results for part in _section(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


_INTRODUCTION: Final = (
    "Written by `python -m benchmarks.paper.report` from `results/`; do not edit. The claims are those of"
    " Zhu et al. 2023. Numbers are means over the seeds, curves have one standard error to both sides;"
    " that of a single seed is shown as 0. Command, date and machine are of the run that measured last; others may"
    " have measured some of the arms and seeds before."
)


def _summary(results: Sequence[SuiteResult]) -> str:
    verdicts = [one.holds for result in results for one in result.headline.values()]
    count = sum(one is not None for one in verdicts)
    return f"{verdicts.count(True)} of the {count} claims that were measured hold."


def _missing(results: Sequence[SuiteResult]) -> str:
    found = {result.suite for result in results}
    missing = [f"{suite.title} (`{name}`)" for name, suite in SUITES.items() if name not in found]
    return f"Not run: {', '.join(missing)}." if missing else ""


def _section(result: SuiteResult) -> list[str]:
    return [
        f"## {result.title}",
        f"`{result.command}`, {result.date}: {result.told_seeds}, {result.seconds:.0f} s. Machine: {result.machine.sentence()}.",
        _table(rows(result)),
        *(f"{arm}: {reason}." for arm, reason in result.unavailable.items()),
        *([f"![curves](results/{result.suite}.png)"] if result.has_curves else []),
    ]


def _table(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---" for _ in COLUMNS]
    return "\n".join("| " + " | ".join(line) + " |" for line in (COLUMNS, rule, *lines))


def rows(result: SuiteResult) -> list[tuple[str, str, str, str]]:
    """Claim, measured, reference and verdict."""
    return [_row(claim, finding) for claim, finding in result.headline.items()]


def _row(claim: str, finding: Finding) -> tuple[str, str, str, str]:
    told = [one for one in (_numbers(finding.reference), finding.source) if one]
    verdict = {True: "holds", False: "DOES NOT HOLD", None: "not measured"}[finding.holds]
    return claim, _numbers(finding.measured), ": ".join(told), verdict


def _numbers(named: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in named.items())


if __name__ == "__main__":
    main()
