"""Nested states as one flat mapping from dotted names to tensors, which is what safetensors stores."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def under(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of all tensors of `state`, detached, with `prefix` and a dot before their names."""
    return {f"{prefix}.{name}": value.detach().clone() for name, value in state.items()}


def below(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that `under` put there, with their own names."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
