"""Sums over the steps that follow, within episodes that lie one after the other. Letters: N steps, E episodes."""

from __future__ import annotations

from itertools import pairwise

import torch


def discounted_sums(values: torch.Tensor, factor: float, offsets: torch.Tensor) -> torch.Tensor:
    """`[N]`: values[t] + factor * values[t + 1] + factor^2 * values[t + 2] + ... to the episode's end.

    `values`: `[N]`. `offsets`: `[E + 1]`; episode e is rows `offsets[e]:offsets[e + 1]`. With rewards and
    the discount it is the reward-to-go. Summed in double precision, on the host: each step waits for the
    one after it.
    """
    numbers, bounds = values.tolist(), offsets.tolist()
    sums = [0.0] * len(numbers)
    for start, end in pairwise(bounds):
        running = 0.0
        for t in range(end - 1, start - 1, -1):
            running = numbers[t] + factor * running
            sums[t] = running
    return torch.tensor(sums, dtype=values.dtype, device=values.device)


def returns_to_go(
    reward: torch.Tensor,
    bootstraps: torch.Tensor,
    next_value: torch.Tensor,
    offsets: torch.Tensor,
    discount: float,
) -> torch.Tensor:
    """`[N]`: discounted rewards from each step to the end of its episode (Sutton & Barto 2018, eq. 3.8).

    Where the last step of an episode bootstraps, the value of its own next state stands for what would
    have followed. `reward`, `bootstraps`, `next_value`: `[N]`; the latter two only count in last steps.
    """
    rewards = reward.clone()
    last = offsets[1:] - 1
    rewards[last] += discount * bootstraps[last] * next_value[last]
    return discounted_sums(rewards, discount, offsets)


def generalized_advantages(
    errors: torch.Tensor, offsets: torch.Tensor, discount: float, trace: float
) -> torch.Tensor:
    """`[N]`: sum of (discount * trace)^l * errors[t + l] to the episode's end (Schulman et al. 2016, eq. 16).

    `errors`: `[N]`, one-step errors reward + discount * bootstraps * V(next state) - V(state), so that a
    cut episode bootstraps from its own next state. `trace`: lambda, in [0, 1].
    """
    return discounted_sums(errors, discount * trace, offsets)
