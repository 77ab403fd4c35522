"""Choices and means within ragged sets, by hand."""

from __future__ import annotations

import torch

from agent_core.functional.segment_choice import at_rows, segment_argmax, segment_mean

# Three sets: {1, -2}, {}, {-3, -1, -1}.
_VALUES = torch.tensor([1.0, -2.0, -3.0, -1.0, -1.0])
_SEGMENTS = torch.tensor([0, 0, 2, 2, 2])


def test_the_mean_is_taken_per_set_and_is_zero_for_nothing() -> None:
    # Sums of -1 and -5, over two and three.
    mean = segment_mean(_VALUES, _SEGMENTS, 3)

    torch.testing.assert_close(mean, torch.tensor([-0.5, 0.0, -5 / 3]))


def test_the_best_row_is_the_first_of_those_that_tie_and_none_for_nothing() -> None:
    assert segment_argmax(_VALUES, _SEGMENTS, 3).tolist() == [0, 5, 3]


def test_a_row_that_is_none_is_worth_zero() -> None:
    assert at_rows(_VALUES, torch.tensor([3, 5, 0])).tolist() == [-1.0, 0.0, 1.0]


def test_rows_may_hold_several_numbers_and_a_table_none() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    assert at_rows(table, torch.tensor([1, 2])).tolist() == [[3.0, 4.0], [0.0, 0.0]]
    assert at_rows(table[:0], torch.tensor([0])).tolist() == [[0.0, 0.0]]
