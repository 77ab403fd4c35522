"""Numbers drawn once for each key: the same key gives the same numbers, for ever and on every device.

What must be drawn for each transition (which members learn from it, which quantiles are looked at) is a
function of the transition's key. Nothing has to be stored with it, and no generator has a state.
"""

from __future__ import annotations

import torch


def uniforms(keys: torch.Tensor, count: int) -> torch.Tensor:
    """`[B, count]` float32 in [0, 1), for `keys` `[B]` int64."""
    steps = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    words = splitmix(splitmix(keys).unsqueeze(1) + steps)
    return _shifted(words, 40).float() * 2.0**-24


def splitmix(words: torch.Tensor) -> torch.Tensor:
    """Mixed 64-bit `words` of the same shape, int64 (Steele, Lea & Flood 2014)."""
    z = words + _GOLDEN
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(words: torch.Tensor, bits: int) -> torch.Tensor:
    # Torch shifts the sign in from the left; the mask takes it out again.
    return (words >> bits) & ((1 << (64 - bits)) - 1)


_GOLDEN = 0x9E37_79B9_7F4A_7C15 - 2**64
_FIRST = 0xBF58_476D_1CE4_E5B9 - 2**64
_SECOND = 0x94D0_49BB_1331_11EB - 2**64
