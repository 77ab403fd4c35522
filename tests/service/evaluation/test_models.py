"""Reward models that speak of units which they were not fitted to, and how work is shared out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent_core.types import Doubles
from service.evaluation.columns import Columns, described
from service.evaluation.models import FOLDS, ModelSums, fitted, fold_of
from service.evaluation.parallel import in_turn, windowed
from tests.service.evaluation.logs import clicks, walks

_NEEDS = frozenset({"plain", "robust", "steps", "visits"})


def _columns(episodes: int = 40) -> Columns:
    steps = walks(episodes, np.array([0.3, 0.7]))
    units = [steps[i : i + 3] for i in range(0, len(steps), 3)]
    answers: list[list[Doubles]] = [[np.array([0.3, 0.7])] * 3 for _ in units]
    return described(units, answers, (), needs_likeness=False)


def _said(columns: Columns, rewarded: Columns | None = None) -> dict[str, Doubles]:
    """What models fitted to `rewarded` say of what was done in `columns`."""
    sums = ModelSums.of(rewarded or columns, _NEEDS)
    models = fitted(sums, _NEEDS, discount=1.0, longest=3)
    return {name: taken for name, (taken, _) in models.of(columns).items()}


@pytest.mark.parametrize("model", ["plain", "robust", "steps"])
def test_a_model_does_not_hear_of_the_unit_that_it_speaks_of(model: str) -> None:
    columns = _columns()
    reward = columns.reward.copy()
    reward[:3] += 1000.0
    changed = dataclasses.replace(columns, reward=reward)

    before, after = _said(columns)[model], _said(columns, changed)[model]

    assert after[:3] == pytest.approx(before[:3])
    others = np.repeat(fold_of(columns.unit), 3) != fold_of(columns.unit)[0]
    assert np.abs(after[others] - before[others]).min() > 0.01


def test_units_are_spread_over_all_folds() -> None:
    folds = fold_of(_columns(300).unit)

    # 100 each, with a standard deviation of 8.
    assert np.bincount(folds, minlength=FOLDS).min() > 65


def test_values_of_what_follows_are_learned() -> None:
    columns = _columns(400)

    said = _said(columns)["steps"]

    # The last step earns what the state was plus the action; the first also what follows: with the target's
    # 0.7 a step, 3 (s + a) + 2 * 0.7 + 0.7 at the first of three.
    last, first = slice(2, None, 3), slice(0, None, 3)
    assert said[last] == pytest.approx(columns.reward[last], abs=0.1)
    assert said[first] == pytest.approx(3 * columns.reward[first] + 2.1, abs=0.2)


def test_columns_survive_their_file(tmp_path: Path) -> None:
    columns = described(
        [[step] for step in clicks(5, np.ones(3) / 3)],
        [[np.ones(3) / 3]] * 5,
        ("cost", "click", "reward"),
        needs_likeness=True,
    )
    path = tmp_path / "columns.npz"

    columns.save(path)
    again = Columns.load(path)

    for one in dataclasses.fields(Columns):
        np.testing.assert_array_equal(getattr(again, one.name), getattr(columns, one.name))
    assert columns.ratio == pytest.approx(np.ones(5))
    assert columns.metrics[:, 1].tolist() == [0, 1, 0, 1, 0]


# -- sharing out -------------------------------------------------------------------------------------


def test_a_log_is_not_read_ahead_of_those_who_work_on_it() -> None:
    read, under_way = [], []

    def items() -> Iterator[int]:
        for i in range(10):
            read.append(i)
            yield i

    results = windowed(lambda i: i * i, items(), 3, lambda found: found)
    for result in results:
        under_way.append(len(read))
        assert result == (len(under_way) - 1) ** 2

    # Three under way, and the one that waits for the first of them.
    assert under_way == [4, 5, 6, 7, 8, 9, 10, 10, 10, 10]


def test_in_turn_is_a_plain_map() -> None:
    assert list(in_turn(abs, [-1, 2])) == [1, 2]
