"""Reductions over ragged sets, by hand and against a loop."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.segments import segment_max, segment_softmax, segment_sum

# Three sets: {1, -2}, {}, {-3, -1, -2}.
_VALUES = torch.tensor([1.0, -2.0, -3.0, -1.0, -2.0])
_SEGMENTS = torch.tensor([0, 0, 2, 2, 2])


def test_sums_are_taken_per_set() -> None:
    assert segment_sum(_VALUES, _SEGMENTS, 3).tolist() == [-1.0, 0.0, -6.0]


def test_the_maximum_of_negative_values_is_negative_and_that_of_nothing_is_zero() -> None:
    assert segment_max(_VALUES, _SEGMENTS, 3).tolist() == [1.0, 0.0, -1.0]


def test_the_softmax_of_equal_values_is_uniform_within_the_set() -> None:
    # exp(0) / 2 twice, and exp(ln 3) = 3 against exp(0) = 1: 3/4 and 1/4.
    values = torch.tensor([5.0, 5.0, torch.log(torch.tensor(3.0)), 0.0])

    probabilities = segment_softmax(values, torch.tensor([0, 0, 1, 1]), 2)

    torch.testing.assert_close(probabilities, torch.tensor([0.5, 0.5, 0.75, 0.25]))


def test_the_softmax_of_huge_values_does_not_overflow() -> None:
    probabilities = segment_softmax(torch.tensor([1e30, -1e30]), torch.tensor([0, 0]), 1)

    assert probabilities.tolist() == [1.0, 0.0]


def test_gradients_flow_to_the_maximum_only() -> None:
    values = _VALUES.clone().requires_grad_()

    segment_max(values, _SEGMENTS, 3).sum().backward()

    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]


@given(st.lists(st.lists(st.floats(-100, 100, width=32), max_size=5), min_size=1, max_size=6))
def test_every_set_is_reduced_as_if_it_were_alone(sets: list[list[float]]) -> None:
    values = torch.tensor([v for values in sets for v in values], dtype=torch.float32)
    lengths = torch.tensor([len(s) for s in sets])
    segments = torch.repeat_interleave(torch.arange(len(sets)), lengths)

    maxima, sums = (
        segment_max(values, segments, len(sets)),
        segment_sum(values, segments, len(sets)),
    )
    softmax = segment_softmax(values, segments, len(sets)).split(lengths.tolist())

    for row, members in enumerate(sets):
        alone = torch.tensor(members, dtype=torch.float32)
        assert maxima[row] == (alone.max() if members else 0.0)
        torch.testing.assert_close(sums[row], alone.sum(), atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(softmax[row], alone.softmax(0))
