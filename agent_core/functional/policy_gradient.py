"""Distributions over ragged action sets, and the objectives that move them.

Letters: B decisions with N actions in all. Nothing pads, so what a decision contributes does not depend
on how many actions the others have.
"""

from __future__ import annotations

import torch

from agent_core.functional.segments import segment_max, segment_sum, spread
from agent_core.types import RaggedActions


def log_probabilities(logits: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[N]` logarithms of the softmax of `logits` `[N]` within each set."""
    highest = segment_max(logits.detach(), sets)
    shifted = logits - spread(highest, sets)
    total = segment_sum(shifted.exp(), sets)
    return shifted - spread(total, sets).log()


def entropies(log_p: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[B]` entropies in nats, with their gradient, of log-probabilities `log_p` `[N]`; 0 for an empty set."""
    return -segment_sum(log_p.exp() * log_p, sets)


def expectations(values: torch.Tensor, log_p: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[B]` means of `values` `[N]` under the distributions with logarithms `log_p` `[N]`."""
    return segment_sum(log_p.exp() * values, sets)


def log_of_propensity(propensity: torch.Tensor) -> torch.Tensor:
    """`[B]` finite float32 logarithms: what was rounded to zero is taken as the smallest number of its type."""
    return propensity.clamp_min(torch.finfo(propensity.dtype).tiny).log().float()


def clipped_surrogate(
    log_ratio: torch.Tensor, advantage: torch.Tensor, clip: float
) -> torch.Tensor:
    """`[B]`, to be maximized: min(r * A, clip(r, 1 - clip, 1 + clip) * A); Schulman et al. 2017, eq. 7.

    `log_ratio`: `[B]`, log r, the log-probability of the action now minus when it was taken.
    """
    # A ratio that float32 cannot hold is far beyond every clip: it gives no gradient instead of NaN.
    ratio = log_ratio.clamp_max(_LARGEST_LOG_RATIO).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


_LARGEST_LOG_RATIO = 80.0  # exp(88.7) is the end of float32; some room is left for an advantage


def standardized(advantage: torch.Tensor) -> torch.Tensor:
    """`[B]` with mean 0 and deviation 1; zeros where all are equal."""
    centred = advantage - advantage.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)
