"""Every bandit estimate that another library made of the Open Bandit data, to 1e-9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from agent_core.evaluation import weights
from agent_core.evaluation.bootstrap import plain_replicates, replicate_sums
from agent_core.evaluation.bounds import empirical_bernstein_lower, student_t_lower
from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.moments import Estimate, Moments, plain, self_normalized
from agent_core.evaluation.terms import Terms, doubly_robust, importance
from agent_core.types import Doubles
from tests.agent_core.evaluation import oracle

Run: TypeAlias = dict[str, Any]
Reweighted: TypeAlias = Callable[[Doubles], Doubles]
Averaged: TypeAlias = Callable[[Moments], Estimate]

_RUNS = pytest.mark.parametrize("run", oracle.runs(), ids=oracle.run_name)

_WITHOUT_MODEL: dict[str, tuple[Reweighted, Averaged]] = {
    "ipw": (lambda ratio: ratio, plain),
    "ipw_clip10": (lambda ratio: weights.clipped(ratio, 10), plain),
    "ipw_clip2": (lambda ratio: weights.clipped(ratio, 2), plain),
    "snipw": (lambda ratio: ratio, self_normalized),
    "sg-ipw_0.01": (lambda ratio: weights.sub_gaussian(ratio, 0.01), plain),
    "sg-ipw_0.5": (lambda ratio: weights.sub_gaussian(ratio, 0.5), plain),
}
_WITH_MODEL: dict[str, tuple[Reweighted, Averaged]] = {
    "dm": (np.zeros_like, plain),
    "dr": (lambda ratio: ratio, plain),
    "dr_clip2": (lambda ratio: weights.clipped(ratio, 2), plain),
    "sndr": (lambda ratio: ratio, self_normalized),
    "switch-dr_1": (lambda ratio: weights.switched(ratio, 1), plain),
    "switch-dr_2": (lambda ratio: weights.switched(ratio, 2), plain),
    "switch-dr_10": (lambda ratio: weights.switched(ratio, 10), plain),
    "dr-os_1": (lambda ratio: weights.optimistic(ratio, 1), plain),
    "dr-os_10": (lambda ratio: weights.optimistic(ratio, 10), plain),
    "dr-os_100": (lambda ratio: weights.optimistic(ratio, 100), plain),
    "sg-dr_0.5": (lambda ratio: weights.sub_gaussian(ratio, 0.5), plain),
}


@_RUNS
def test_estimates_are_those_of_the_other_library(run: Run) -> None:
    decisions, models = oracle.open_bandit(run), oracle.models(run)
    ratio, reward, theirs = decisions.ratio(), decisions.reward, run["estimates"]

    ours = {
        q: {
            name: average(Moments.of(importance(reward, reweighted(ratio)))).value
            for name, (reweighted, average) in _WITHOUT_MODEL.items()
        }
        | {
            name: average(
                Moments.of(doubly_robust(reward, reweighted(ratio), model.taken, model.expected))
            ).value
            for name, (reweighted, average) in _WITH_MODEL.items()
        }
        for q, model in models.items()
    }

    for q, estimates in ours.items():
        assert estimates.keys() == theirs[q].keys()
        assert estimates == pytest.approx(theirs[q], abs=1e-9, rel=0)


@_RUNS
def test_the_weights_are_described_alike(run: Run) -> None:
    sums = WeightSums.of(oracle.open_bandit(run).ratio())

    assert sums.mean == pytest.approx(run["iw_mean"], rel=1e-12)
    assert sums.largest == run["iw_max"]
    assert sums.effective_size == pytest.approx(run["ess"], rel=1e-12)


@_RUNS
@pytest.mark.parametrize("delta", [0.05, 0.1])
def test_lower_bounds_are_those_of_the_other_library(run: Run, delta: float) -> None:
    decisions, theirs = oracle.open_bandit(run), run["lower_bounds"][f"ipw_delta{delta}"]

    estimate = plain(Moments.of(importance(decisions.reward, decisions.ratio())))

    assert student_t_lower(estimate, delta) == pytest.approx(theirs["student_t"], abs=1e-9)
    # It takes the largest weight that it sees for the largest there is.
    bernstein = empirical_bernstein_lower(estimate, theirs["x_max"], delta)
    assert bernstein == pytest.approx(theirs["empirical_bernstein"], abs=1e-9)


@_RUNS
def test_a_bootstrap_with_the_same_draws_gives_the_same_interval(run: Run) -> None:
    decisions, model = oracle.open_bandit(run), oracle.models(run)["tabular"]
    ratio, reward = decisions.ratio(), decisions.reward
    zeros = np.zeros_like(reward)
    # Its self-normalized replicates keep the denominator of the log.
    named = {
        "ipw": importance(reward, ratio),
        "snipw": importance(reward, ratio / ratio.mean()),
        "dm": doubly_robust(reward, zeros, model.taken, model.expected),
        "dr": doubly_robust(reward, ratio, model.taken, model.expected),
    }
    theirs = run["ci"]["bootstrap95_tabular_B1000_seed12345"]

    sums = _replicated(named)

    for name, expected in theirs.items():
        replicates = plain_replicates(sums[name])
        assert replicates.mean() == pytest.approx(expected["mean"], abs=1e-9)
        ends = np.percentile(replicates, [2.5, 97.5])
        interval = [expected["95.0% CI (lower)"], expected["95.0% CI (upper)"]]
        assert ends == pytest.approx(interval, abs=1e-9)


def _replicated(named: dict[str, Terms]) -> dict[str, Doubles]:
    """1000 replicates of 10,000 rows, drawn as that library draws them."""
    legacy = np.random.RandomState(12345)
    sums: dict[str, list[Doubles]] = {name: [] for name in named}
    for _ in range(1000):
        drawn = legacy.choice(10_000, size=10_000, replace=True)
        counts = np.bincount(drawn, minlength=10_000)[None]
        for name, terms in named.items():
            sums[name].append(replicate_sums(terms, counts))
    return {name: np.concatenate(rows) for name, rows in sums.items()}
