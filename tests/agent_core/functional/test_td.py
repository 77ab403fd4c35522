"""One-step targets, by hand."""

from __future__ import annotations

import torch

from agent_core.functional.td import one_step_target


def test_the_next_value_counts_discounted_unless_the_step_was_terminal() -> None:
    reward = torch.tensor([1.0, 1.0, -2.0])
    bootstraps = torch.tensor([1.0, 0.0, 1.0])
    next_value = torch.tensor([10.0, 10.0, 4.0])

    target = one_step_target(reward, bootstraps, next_value, discount=0.5)

    # 1 + 0.5 * 10; 1, the episode is over; -2 + 0.5 * 4.
    assert target.tolist() == [6.0, 1.0, 0.0]
