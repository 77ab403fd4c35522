"""Rows of a ragged batch."""

from __future__ import annotations

import torch

from agent_core.functional.ragged import select_sets
from agent_core.types import RaggedActions


def test_the_chosen_sets_come_whole_and_in_the_order_asked_for() -> None:
    # Sets {0, 1}, {}, {2, 3, 4}.
    actions = RaggedActions(torch.arange(5.0).unsqueeze(1), torch.tensor([0, 2, 2, 5]))

    selected = select_sets(actions, torch.tensor([2, 1, 0, 2]))

    assert selected.offsets.tolist() == [0, 3, 3, 5, 8]
    assert selected.features.flatten().tolist() == [2, 3, 4, 0, 1, 2, 3, 4]


def test_no_rows_give_an_empty_table() -> None:
    actions = RaggedActions(torch.arange(5.0).unsqueeze(1), torch.tensor([0, 2, 5]))

    selected = select_sets(actions, torch.zeros(0, dtype=torch.int64))

    assert selected.offsets.tolist() == [0]
    assert selected.features.shape == (0, 1)
