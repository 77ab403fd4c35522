"""Reductions over ragged sets: by hand, against a loop, and as a box where all sets are of one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.policy_gradient import entropies, expectations, log_probabilities
from agent_core.functional.ragged import largest_part, room_for, with_room
from agent_core.functional.segments import (
    at_rows,
    segment_argmax,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    spread,
)
from agent_core.policy_learners.value_based.cql import conservatism
from agent_core.types import RaggedActions
from tests.support.learners import sets_of

# Three sets: {1, -2}, {}, {-3, -1, -1}.
_VALUES, _SETS = torch.tensor([1.0, -2.0, -3.0, -1.0, -1.0]), sets_of(2, 0, 3)


def test_sums_are_taken_per_set() -> None:
    assert segment_sum(_VALUES, _SETS).tolist() == [-1.0, 0.0, -5.0]


def test_the_mean_is_taken_per_set_and_is_zero_for_nothing() -> None:
    # Sums of -1 and -5, over two and three.
    torch.testing.assert_close(segment_mean(_VALUES, _SETS), torch.tensor([-0.5, 0.0, -5 / 3]))


def test_the_maximum_of_negative_values_is_negative_and_that_of_nothing_is_zero() -> None:
    assert segment_max(_VALUES, _SETS).tolist() == [1.0, 0.0, -1.0]


def test_the_best_row_is_the_first_of_those_that_tie_and_none_for_nothing() -> None:
    assert segment_argmax(_VALUES, _SETS).tolist() == [0, 5, 3]


def test_what_is_known_of_a_set_is_repeated_for_each_of_its_rows() -> None:
    assert spread(torch.tensor([7.0, 8.0, 9.0]), _SETS).tolist() == [7, 7, 9, 9, 9]


def test_the_softmax_of_equal_values_is_uniform_within_the_set() -> None:
    # exp(0) / 2 twice, and exp(ln 3) = 3 against exp(0) = 1: 3/4 and 1/4.
    values = torch.tensor([5.0, 5.0, torch.log(torch.tensor(3.0)), 0.0])

    probabilities = segment_softmax(values, sets_of(2, 2))

    torch.testing.assert_close(probabilities, torch.tensor([0.5, 0.5, 0.75, 0.25]))


def test_the_softmax_of_huge_values_does_not_overflow() -> None:
    assert segment_softmax(torch.tensor([1e30, -1e30]), sets_of(2)).tolist() == [1.0, 0.0]


def test_gradients_flow_to_the_maximum_only() -> None:
    values = torch.tensor([1.0, -2.0, -3.0, -1.0, -2.0], requires_grad=True)

    (gradient,) = torch.autograd.grad(segment_max(values, _SETS).sum(), values)

    assert gradient.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_a_row_that_is_none_is_worth_zero() -> None:
    assert at_rows(_VALUES, torch.tensor([3, 5, 0])).tolist() == [-1.0, 0.0, 1.0]


def test_rows_may_hold_several_numbers_and_a_table_none() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    assert at_rows(table, torch.tensor([1, 2])).tolist() == [[3.0, 4.0], [0.0, 0.0]]
    assert at_rows(table[:0], torch.tensor([0])).tolist() == [[0.0, 0.0]]


@given(st.lists(st.lists(st.floats(-100, 100, width=32), max_size=5), min_size=1, max_size=6))
def test_every_set_is_reduced_as_if_it_were_alone(members: list[list[float]]) -> None:
    values = torch.tensor([v for one in members for v in one], dtype=torch.float32)
    sets = sets_of(*map(len, members))

    maxima, sums = segment_max(values, sets), segment_sum(values, sets)
    softmax = segment_softmax(values, sets).split([len(one) for one in members])

    for row, alone in enumerate(map(torch.tensor, members)):
        assert maxima[row] == (alone.max() if len(alone) else 0.0)
        torch.testing.assert_close(sums[row], alone.sum(), atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(softmax[row], alone.softmax(0))


_Reduction = Callable[[torch.Tensor, RaggedActions], torch.Tensor]
_BOXES = st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(0, 2**31))
"""How many sets, of how many actions each, and a seed."""


def _box(count: int, width: int, seed: int, *shape: int) -> tuple[torch.Tensor, RaggedActions]:
    """Values `[N, *shape]`, some of which tie, and their sets, which do not know that they are a box."""
    generator = torch.Generator().manual_seed(seed)
    # Never 0: there torch halves the gradient of a ragged maximum, as if the 0 it starts from tied with it.
    values = torch.randint(-3, 4, (count * width, *shape), generator=generator) + 0.5
    return values.requires_grad_(), sets_of(*[width] * count)


@pytest.mark.parametrize("reduction", [segment_sum, segment_max, segment_mean, segment_softmax])
@given(drawn=_BOXES)
def test_a_box_is_reduced_as_ragged_sets_are_gradients_included(
    reduction: _Reduction, drawn: tuple[int, int, int]
) -> None:
    values, sets = _box(*drawn)
    found = []
    for width in (None, drawn[1]):
        reduced = reduction(values, replace(sets, width=width))
        pull = torch.arange(1.0, len(reduced) + 1)
        found.append((reduced, *torch.autograd.grad((pull * reduced).sum(), values)))

    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("reduction", [segment_sum, segment_max])
@given(drawn=_BOXES)
def test_a_box_of_several_numbers_for_each_action_too(
    reduction: _Reduction, drawn: tuple[int, int, int]
) -> None:
    values, sets = _box(*drawn, 2)

    torch.testing.assert_close(
        reduction(values, replace(sets, width=drawn[1])), reduction(values, sets)
    )


@given(drawn=_BOXES)
def test_the_best_row_of_a_box_is_that_of_ragged_sets(drawn: tuple[int, int, int]) -> None:
    values, sets = _box(*drawn)

    found = segment_argmax(values, replace(sets, width=drawn[1]))

    assert torch.equal(found, segment_argmax(values, sets))


@pytest.mark.parametrize("shape", [(), (2,)])
@given(drawn=_BOXES)
def test_a_box_is_spread_over_as_ragged_sets_are_gradients_included(
    shape: tuple[int, ...], drawn: tuple[int, int, int]
) -> None:
    count, width, seed = drawn
    values, sets = _box(count, width, seed)
    generator = torch.Generator().manual_seed(seed)
    per_set = torch.randn(count, *shape, generator=generator, requires_grad=True)
    found = []
    for known in (None, width):
        rows = spread(per_set, replace(sets, width=known))
        pull = values.detach().reshape(-1, *[1] * len(shape))
        found.append((rows, *torch.autograd.grad((pull * rows).sum(), per_set)))

    torch.testing.assert_close(found[1], found[0])


_HUGE = st.sampled_from([0.0, 1e30, -1e30, float("inf"), float("-inf")])
_RAGGED = st.lists(st.lists(st.floats(-100, 100, width=32), max_size=4), min_size=1, max_size=5)


@pytest.mark.parametrize("reduction", [segment_sum, segment_max, segment_mean])
@given(members=_RAGGED, beyond=st.lists(_HUGE, min_size=1, max_size=3))
def test_rows_of_no_set_have_no_part_in_any(
    reduction: _Reduction, members: list[list[float]], beyond: list[float]
) -> None:
    sizes, real = [len(one) for one in members], [v for one in members for v in one]
    found = []
    for table in (real, real + beyond):
        values = torch.tensor(table, requires_grad=True)
        reduced = reduction(values, with_room(sets_of(*sizes), 1, len(table)))
        pull = torch.arange(1.0, len(sizes) + 1)
        (gradient,) = torch.autograd.grad((pull * reduced).sum(), values)
        assert not gradient[len(real) :].any()
        found.append((reduced, gradient[: len(real)]))

    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_the_best_row_is_never_one_of_no_set() -> None:
    # As above, and two rows beyond; no row is 7 then.
    beyond, sets = torch.tensor([9.0, -1.0]), with_room(_SETS, count=1, room=7)

    assert segment_argmax(torch.cat([_VALUES, beyond]), sets).tolist() == [0, 7, 3]


def _softmax_mean(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    return segment_sum(segment_softmax(values, sets) * values, sets)


def _entropy(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    return entropies(log_probabilities(values, sets), sets)


def _soft_value(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    return expectations(values, log_probabilities(values, sets), sets)


def _above_the_last(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    return conservatism(values, sets, (sets.offsets[1:] - 1).clamp(min=0))


_WHOLE = st.lists(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), max_size=4), min_size=2, max_size=2).filter(
        any
    ),
    min_size=1,
    max_size=4,
)
"""Parts of two sets, of which one has an action."""


@pytest.mark.parametrize("function", [_softmax_mean, _entropy, _soft_value, _above_the_last])
@given(parts=_WHOLE)
def test_in_room_sets_have_the_numbers_and_gradients_that_they_have_without(
    function: _Reduction, parts: list[list[list[float]]]
) -> None:
    sets = sets_of(*[len(one) for part in parts for one in part])
    values = torch.tensor([[v] for part in parts for one in part for v in one])
    room, found = room_for(largest_part(sets, len(parts))), []

    for is_roomy in (False, True):
        leaf = values.clone().requires_grad_()
        whole = replace(sets, features=leaf)
        whole = with_room(whole, len(parts), room) if is_roomy else whole
        reduced = torch.cat([function(p.features[:, 0], p) for p in whole.split(len(parts))])
        is_known = (sets.lengths() > 0).float()
        total = (is_known * torch.nan_to_num(reduced, neginf=0.0)).sum()
        found.append((total, *torch.autograd.grad(total, leaf)))

    assert found[1][1].isfinite().all()
    torch.testing.assert_close(found[1], found[0])
