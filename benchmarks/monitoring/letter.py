"""Windows of letters (UCI, 16 whole numbers from 0 to 15) against a reference: which changes do rules see?"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from agent_core.monitoring.histograms import Bins, Counts, psi, psi_p_values
from agent_core.monitoring.moments import ColumnMoments, gaussian_kl, kl_p_value
from agent_core.monitoring.nulls import NullScores
from agent_core.monitoring.random_features import (
    MeanEmbedding,
    RandomFeatures,
    mmd_null,
    squared_mmd,
)
from agent_core.monitoring.tails import bonferroni
from agent_core.types import Doubles, Integers
from benchmarks.monitoring.cases import NEVER, Table, outcome

LEVEL: Final = 0.01
REFERENCE: Final = 8_000
SIZES: Final = (200, 500, 2_000)
_NULL_SIZE: Final = 500
_DIM: Final = 256
_MOVED: Final = 5
_SHUFFLED: Final = (0, 2)
"""The two that go together most: a letter's left edge and its width."""
_STUDY: Final = {
    "200 none": (".07", "0", ".01", "0", "0"),
    "500 none": ("0", "0", ".01", ".01", ".01"),
    "500 class mix": ("0", "0", ".57", ".25", ".86"),
    "500 two features shuffled": ("0", "0", "0", "0", ".97"),
    "500 one feature + .3 sd": ("0", "0", ".02", "1.00", ".99"),
    "2000 none": ("0", "0", ".02", "0", ".01"),
    "2000 class mix": ("0", "0", "1.00", "1.00", "1.00"),
    "2000 two features shuffled": ("0", "0", ".02", "0", "1.00"),
}
_STUDIED: Final = ("PSI > .1", "PSI > .25", "PSI calibrated", "KS (scipy)", "MMD")


class Size(NamedTuple):
    """How many references, windows of each size and change for each, and draws for what no change looks like."""

    references: int
    windows: int
    draws: int


Rows: TypeAlias = tuple[Doubles, Integers]
Rules: TypeAlias = dict[str, Callable[[Doubles], bool]]
"""By its name, whether a rule alarms for the rows `[T, 16]` of a window."""


def none(rows: Doubles, random: np.random.Generator) -> Doubles:
    return rows


def shuffled(rows: Doubles, random: np.random.Generator) -> Doubles:
    """Two features lose all that they have to do with any other, and keep their distributions."""
    changed = rows.copy()
    for feature in _SHUFFLED:
        changed[:, feature] = random.permutation(changed[:, feature])
    return changed


def moved(rows: Doubles, random: np.random.Generator) -> Doubles:
    """One feature grows by .3 of its deviation, and is no whole number any more."""
    changed: Doubles = rows + 0.3 * rows[:, _MOVED].std() * _one_hot()
    return changed


def stepped(rows: Doubles, random: np.random.Generator) -> Doubles:
    """The same on average, in whole steps."""
    steps = random.random(len(rows)) < 0.3 * rows[:, _MOVED].std()
    changed: Doubles = rows + steps[:, None] * _one_hot()
    return changed


def _one_hot() -> Doubles:
    hot: Doubles = np.eye(16)[_MOVED]
    return hot


CHANGES: Final = {
    "none": none,
    "class mix": none,
    "two features shuffled": shuffled,
    "one feature + .3 sd": moved,
    "one feature + .3 sd in steps": stepped,
}
"""Those of the rows of a window; a class mix is one of how they are drawn."""


def load() -> Rows | None:
    """`[20000, 16]` and classes; None where the data are not at hand, under NACRE_DATA."""
    path = Path(os.environ.get("NACRE_DATA", "")) / "uci_letter" / "letter.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        return data["X"].astype(np.float64), data["y"].astype(np.int64)


def letter_table(letters: Rows, size: Size, tick: Callable[[str], None]) -> Table:
    """`tick` is called after each reference."""
    alarms: dict[tuple[str, str], list[float]] = {}
    for split in range(size.references):
        random = np.random.default_rng(split)
        order = random.permutation(len(letters[0]))
        rules = _rules(letters[0][order[:REFERENCE]], size.draws, random)
        others = letters[0][order[REFERENCE:]], letters[1][order[REFERENCE:]]
        for case, rows in _windows(others, size.windows, random):
            for rule, is_alarm in rules.items():
                alarms.setdefault((rule, case), []).append(1.0 if is_alarm(rows) else NEVER)
        tick(f"letters: reference {split + 1}")
    return Table(
        "Drift of letters: windows with an alarm",
        f"{size.references * size.windows} windows of each size and change, against {size.references} references of {REFERENCE:,} rows; all rules but"
        f" the fixed thresholds at {LEVEL:.0%} for a window. Class mix: half of the letters come three times as often as the"
        " others. ADWIN reads the reference and then the window, one detector a feature. Shares.",
        [
            outcome(
                rule, case, np.array(at), 1.0, has_changed=False, expected=_expected(rule, case)
            )
            for (rule, case), at in alarms.items()
        ],
    )


def _expected(rule: str, case: str) -> str:
    return dict(zip(_STUDIED, _STUDY.get(case, ()), strict=False)).get(rule, "")


def _windows(
    others: Rows, count: int, random: np.random.Generator
) -> Iterator[tuple[str, Doubles]]:
    rows, classes = others
    even = np.full(len(rows), 1 / len(rows))
    mixed = np.where(classes < 13, 3.0, 1.0)
    for size in SIZES:
        for change, apply in CHANGES.items():
            weights = mixed / mixed.sum() if change == "class mix" else even
            for _ in range(count):
                pick = random.choice(len(rows), size, replace=False, p=weights)
                yield f"{size} {change}", apply(rows[pick], random)


def _rules(reference: Doubles, draws: int, random: np.random.Generator) -> Rules:
    rules = _histogram_rules(reference) | _joint_rules(reference, draws, random)
    if find_spec("scipy"):
        rules["KS (scipy)"] = _kolmogorov_smirnov(reference)
    if find_spec("river"):
        rules["ADWIN (river)"] = _adwin(reference)
    return rules


def _histogram_rules(reference: Doubles) -> Rules:
    bins = Bins.of(reference)
    counts = Counts.of(bins, reference).rows

    def index(rows: Doubles) -> float:
        return float(psi(counts, Counts.of(bins, rows).rows).max())

    def p_value(rows: Doubles) -> float:
        return bonferroni(psi_p_values(counts, Counts.of(bins, rows).rows))

    return {
        "PSI > .1": lambda rows: index(rows) > 0.1,
        "PSI > .25": lambda rows: index(rows) > 0.25,
        "PSI calibrated": lambda rows: p_value(rows) < LEVEL,
    }


def _joint_rules(reference: Doubles, draws: int, random: np.random.Generator) -> Rules:
    features = RandomFeatures.of(reference, _DIM, random)
    embedded = features.embed(reference)
    mean, moments = MeanEmbedding.of(embedded), ColumnMoments.of(reference)

    def mmd(rows: Doubles) -> float:
        return squared_mmd(MeanEmbedding.of(features.embed(rows)), mean)

    def divergence(rows: Doubles) -> float:
        return gaussian_kl(ColumnMoments.of(rows), moments)

    of_mmd = mmd_null(embedded, _NULL_SIZE, draws, random)
    of_kl = NullScores.of(reference, divergence, _NULL_SIZE, draws, random)
    return {
        "MMD": lambda rows: of_mmd.p_value(mmd(rows), len(rows)) <= LEVEL,
        "KL, chi-squared": lambda rows: kl_p_value(ColumnMoments.of(rows), moments) < LEVEL,
        "KL, measured null": lambda rows: of_kl.p_value(divergence(rows), len(rows)) <= LEVEL,
    }


def _kolmogorov_smirnov(reference: Doubles) -> Callable[[Doubles], bool]:
    from scipy.stats import ks_2samp  # type: ignore[import-untyped,unused-ignore]

    def is_alarm(rows: Doubles) -> bool:
        pairs = zip(rows.T, reference.T, strict=True)
        p_values = [float(ks_2samp(a, b, method="asymp").pvalue) for a, b in pairs]
        return bonferroni(np.array(p_values)) < LEVEL

    return is_alarm


def _adwin(reference: Doubles) -> Callable[[Doubles], bool]:
    from river.drift import ADWIN

    primed: list[Any] = [ADWIN(delta=LEVEL / 16) for _ in reference.T]  # type: ignore[no-untyped-call,unused-ignore]
    for detector, column in zip(primed, reference.T.tolist(), strict=True):
        _is_detected(detector, column)

    def is_alarm(rows: Doubles) -> bool:
        pairs = zip(primed, rows.T.tolist(), strict=True)
        return any(_is_detected(copy.deepcopy(detector), column) for detector, column in pairs)

    return is_alarm


def _is_detected(detector: Any, column: list[float]) -> bool:
    is_detected = False
    for value in column:
        detector.update(value)
        is_detected |= detector.drift_detected
    return is_detected
