"""Self-attention over a window, in its torch and its numpy form.

Vaswani et al. 2017, eq. 1, with the normalization before each part (Xiong et al. 2020) and without
dropout: the same window gives the same summary, while learning and while serving. Positions are
counted from the present backwards: a short history is read as a window of just its length would be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from agent_core.functional.windows import rows_and_counts, rows_there
from agent_core.types import Floats, Mask


class AttentionBlock(nn.Module):
    """Self-attention and a perceptron of one hidden layer, each added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.next_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(
        self, rows: torch.Tensor, asking: torch.Tensor, is_visible: torch.Tensor
    ) -> torch.Tensor:
        """`[B, Q, W]`: what becomes of `asking` `[B, Q, W]`, the last Q of `rows` `[B, L, W]`.

        `is_visible`: `[B, Q, L]` bool, whom each looks at.
        """
        queries = self._by_head(self.query(self.norm(asking)))
        keys, values = map(self._by_head, self.key_value(self.norm(rows)).chunk(2, dim=2))
        seen = nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=is_visible.unsqueeze(1)
        )
        asking = asking + self.mix(seen.transpose(1, 2).flatten(2))
        changed: torch.Tensor = self.narrow(self.widen(self.next_norm(asking)).relu())
        return asking + changed

    def _by_head(self, rows: torch.Tensor) -> torch.Tensor:
        """`[B, heads, L, W / heads]` of `[B, L, W]`."""
        divided: torch.Tensor = rows.unflatten(2, (self.heads, -1))
        return divided.transpose(1, 2)


class AttentionNetwork(nn.Module):
    """What the last row of a window has gathered from the rows that are there."""

    positions: torch.Tensor

    def __init__(self, summary: AttentionSummary) -> None:
        super().__init__()
        width = summary.dim
        self._row_dim, self._is_causal = summary.row_dim, summary.is_causal
        self.embed = nn.Linear(summary.row_dim - 1, width)
        if summary.positions == "learned":
            self.positions = nn.Parameter(torch.randn(summary.length, width) * _SMALL)
        else:
            self.register_buffer("positions", sinusoids(summary.length, width), persistent=False)
        self.blocks = nn.ModuleList(
            AttentionBlock(width, summary.heads) for _ in range(summary.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, W]` for windows `[B, L * F]`."""
        rows, counts = rows_and_counts(state, self._row_dim)
        is_visible = self.visibility(counts, rows.shape[1])
        layer = self.embed(rows) + self.positions
        for block in self.blocks[:-1]:
            layer = block(layer, layer, is_visible)
        last = self.blocks[-1](layer, layer[:, -1:], is_visible[:, -1:])
        summary: torch.Tensor = self.norm(last.squeeze(1))
        return summary

    def visibility(self, counts: torch.Tensor, length: int) -> torch.Tensor:
        """`[B, L, L]` bool: whom each row looks at."""
        at = torch.arange(length, device=counts.device)
        is_visible = (at >= length - counts.unsqueeze(1)).unsqueeze(1).expand(-1, length, -1)
        if self._is_causal:
            is_visible = is_visible & (at <= at.unsqueeze(1))
        # Absent rows, which nobody looks at, look at themselves: a softmax over nothing is NaN.
        return is_visible | (at == at.unsqueeze(1))


@dataclass(frozen=True, slots=True)
class AttentionSummary:
    """`row_dim`: F of the window. `length`: L. `dim`: W, a multiple of twice `heads`. `is_causal`:
    whether a row looks at older ones only. `positions`: how a row's age is added to it."""

    row_dim: int
    length: int
    dim: int
    heads: int
    layers: int
    is_causal: bool
    positions: Literal["learned", "sinusoidal"]

    def build_network(self) -> AttentionNetwork:
        return AttentionNetwork(self)

    def numpy_form(self, network: nn.Module) -> Callable[[Floats], Floats]:
        assert isinstance(network, AttentionNetwork)
        return NumpyAttention(network, self)


def sinusoids(length: int, width: int) -> torch.Tensor:
    """`[length, width]`: sines, then cosines, of each row's age, which is 0 for the last row.

    Vaswani et al. 2017, section 3.5; the paper interleaves the two. `width` is even.
    """
    age = torch.arange(length - 1, -1, -1.0).unsqueeze(1)
    slowness = torch.arange(0, width, 2) * (-math.log(10_000.0) / width)
    angle = age * slowness.exp()
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class NumpyAttention:
    """`AttentionNetwork` for one window: `[W]`. Only the rows that are there are computed, and in
    the last block only what the last row asks."""

    def __init__(self, network: AttentionNetwork, summary: AttentionSummary) -> None:
        self._row_dim = summary.row_dim
        self._embed = _linear(network.embed)
        self._positions = _copied(network.positions)
        blocks = [block for block in network.blocks if isinstance(block, AttentionBlock)]
        self._blocks = [_NumpyBlock(block) for block in blocks]
        self._norm = _copied(network.norm.weight), _copied(network.norm.bias)
        self._future: Mask | None = None
        if summary.is_causal:
            self._future = np.triu(np.ones((summary.length, summary.length), bool), 1)

    def __call__(self, state: Floats) -> Floats:
        rows = rows_there(state, self._row_dim)
        layer = _applied(rows, self._embed) + self._positions[-len(rows) :]
        hidden = None if self._future is None else self._future[: len(rows), : len(rows)]
        for block in self._blocks[:-1]:
            layer = block.forward(layer, layer, hidden)
        last = self._blocks[-1].forward(layer, layer[-1:], None)
        weight, bias = self._norm
        summary: Floats = _standardized(last)[0] * weight + bias
        return summary


class _NumpyBlock:
    """`AttentionBlock` for the rows of one window."""

    def __init__(self, block: AttentionBlock) -> None:
        self._heads = block.heads
        self._scale = np.float32((block.mix.in_features // block.heads) ** -0.5)
        self._query = _after_norm(block.norm, block.query)
        self._key_value = _after_norm(block.norm, block.key_value)
        self._mix = _linear(block.mix)
        self._widen = _after_norm(block.next_norm, block.widen)
        self._narrow = _linear(block.narrow)

    def forward(self, rows: Floats, asking: Floats, hidden: Mask | None) -> Floats:
        """`[Q, W]`: what becomes of the rows `asking` `[Q, W]`, the last Q of `rows` `[n, W]`.

        `hidden`: `[Q, n]`, the rows that each may not look at; None if it may look at all.
        """
        asking = asking + _applied(self._gathered(rows, asking, hidden), self._mix)
        widened = _applied(_standardized(asking), self._widen)
        changed: Floats = asking + _applied(np.maximum(widened, _ZERO), self._narrow)
        return changed

    def _gathered(self, rows: Floats, asking: Floats, hidden: Mask | None) -> Floats:
        """`[Q, W]`: the values that each of `asking` attends to, head beside head."""
        width = rows.shape[1]
        table = _standardized(rows)
        queries = self._by_head(_applied(table[-len(asking) :], self._query) * self._scale)
        keys_values = _applied(table, self._key_value)
        logits = queries @ self._by_head(keys_values[:, :width]).transpose(0, 2, 1)
        if hidden is not None:
            logits[:, hidden] = -np.inf
        weights: Floats = np.exp(logits - np.maximum.reduce(logits, axis=2, keepdims=True))
        weights /= np.add.reduce(weights, axis=2, keepdims=True)
        values = weights @ self._by_head(keys_values[:, width:])
        gathered: Floats = values.transpose(1, 0, 2).reshape(asking.shape)
        return gathered

    def _by_head(self, table: Floats) -> Floats:
        """`[heads, n, W / heads]` of `[n, W]`."""
        return table.reshape(len(table), self._heads, -1).transpose(1, 0, 2)


_ZERO = np.zeros((), np.float32)
_SMALL = 0.02
"""Scale of fresh learned positions: they start as a hint beside the embedded rows."""
_EPSILON = np.float32(1e-5)


def _standardized(rows: Floats) -> Floats:
    """Each of `rows` `[n, W]` with mean 0 and variance 1 (Ba et al. 2016, eq. 4)."""
    # Reductions of ufuncs cost half of what `mean` costs at these sizes.
    sums: Floats = np.add.reduce(rows, axis=1, keepdims=True)
    shifted = rows - sums / rows.shape[1]
    squares: Floats = np.add.reduce(shifted * shifted, axis=1, keepdims=True)
    standardized: Floats = shifted / np.sqrt(squares / rows.shape[1] + _EPSILON)
    return standardized


def _applied(rows: Floats, layer: tuple[Floats, Floats]) -> Floats:
    weight, bias = layer
    applied: Floats = rows @ weight + bias
    return applied


def _linear(linear: nn.Linear) -> tuple[Floats, Floats]:
    """`[in, out]` and `[out]`."""
    return _copied(linear.weight.T), _copied(linear.bias)


def _after_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Floats, Floats]:
    """`linear` on standardized rows: the scale and shift of `norm` become part of it."""
    weight, bias = _linear(linear)
    return _copied(norm.weight)[:, None] * weight, _copied(norm.bias) @ weight + bias


def _copied(tensor: torch.Tensor) -> Floats:
    copied: Floats = tensor.detach().cpu().numpy().copy()
    return copied
