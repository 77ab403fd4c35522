"""Recurrent summaries of a window, in their torch and their numpy form.

The state before the window is zero, and rows that are absent are never read: a short history gives
what a window of just its length would give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from agent_core.functional.windows import oldest_first, rows_and_counts, rows_there
from agent_core.types import Floats

_Cells: TypeAlias = nn.LSTM | nn.GRU


class RecurrentNetwork(nn.Module):
    """The hidden state of recurrent `cells` after the last row of a window."""

    def __init__(self, cells: _Cells) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, H]` for windows `[B, L * F]`."""
        rows, counts = rows_and_counts(state, self.cells.input_size + 1)
        # What comes after a row cannot change its hidden state, so absent rows go last: no step is
        # masked, and one kernel runs all of them.
        hidden, _ = self.cells(oldest_first(rows, counts))
        last = (counts - 1).view(-1, 1, 1).expand(-1, 1, hidden.shape[2])
        summary: torch.Tensor = hidden.gather(1, last).squeeze(1)
        return summary


@dataclass(frozen=True, slots=True)
class LstmSummary:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; with forget gates, Gers et al. 2000):

        i, f, o = sigma(.), g = tanh(.) of the row and the hidden state; c <- f c + i g; h <- o tanh(c)

    `row_dim`: F of the window. `dim`: H, width of the hidden state.
    """

    row_dim: int
    dim: int

    def build_network(self) -> RecurrentNetwork:
        cells = nn.LSTM(self.row_dim - 1, self.dim, batch_first=True)
        # Gates that start open keep what they have seen (Jozefowicz et al. 2015).
        with torch.no_grad():
            cells.get_parameter("bias_ih_l0")[self.dim : 2 * self.dim] = 1.0
            cells.get_parameter("bias_hh_l0")[self.dim : 2 * self.dim] = 0.0
        return RecurrentNetwork(cells)

    def numpy_form(self, network: nn.Module) -> Callable[[Floats], Floats]:
        assert isinstance(network, RecurrentNetwork)
        return NumpyLstm(network.cells)


@dataclass(frozen=True, slots=True)
class GruSummary:
    """Gated recurrent units (Cho et al. 2014):

        r, z = sigma(.) of the row and the hidden state; n = tanh(W x + r (U h)); h <- z h + (1 - z) n

    One difference: r multiplies U h, not h, as torch's cells do. `row_dim`: F of the window. `dim`: H, how
    many.
    """

    row_dim: int
    dim: int

    def build_network(self) -> RecurrentNetwork:
        return RecurrentNetwork(nn.GRU(self.row_dim - 1, self.dim, batch_first=True))

    def numpy_form(self, network: nn.Module) -> Callable[[Floats], Floats]:
        assert isinstance(network, RecurrentNetwork)
        return NumpyGru(network.cells)


class NumpyLstm:
    """The hidden state `[H]` of one window. Of the gates i, f, g and o, all but g are logistic:
    sigma(x) = (1 + tanh(x / 2)) / 2, and the x / 2 is in the weights, so one tanh does."""

    def __init__(self, cells: _Cells) -> None:
        halves = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), cells.hidden_size)
        self._inputs, self._recurrent, in_bias, bias = _weights(cells)
        self._inputs, self._recurrent = self._inputs * halves, self._recurrent * halves
        self._bias = (in_bias + bias) * halves
        self._dim = cells.hidden_size

    def __call__(self, state: Floats) -> Floats:
        dim = self._dim
        driven = rows_there(state, len(self._inputs) + 1) @ self._inputs + self._bias
        hidden, memory = np.zeros(dim, np.float32), np.zeros(dim, np.float32)
        for step in driven:
            gates = np.tanh(step + hidden.dot(self._recurrent))
            opened = _HALF * gates + _HALF
            memory = opened[dim : 2 * dim] * memory + opened[:dim] * gates[2 * dim : 3 * dim]
            hidden = opened[3 * dim :] * np.tanh(memory)
        return hidden


class NumpyGru:
    """The hidden state `[H]` of one window. Gates r, z and n, in torch's variant, where r
    multiplies what the recurrent weights give."""

    def __init__(self, cells: _Cells) -> None:
        halves = np.repeat(np.array([0.5, 0.5, 1.0], np.float32), cells.hidden_size)
        self._inputs, self._recurrent, in_bias, bias = _weights(cells)
        self._inputs, self._recurrent = self._inputs * halves, self._recurrent * halves
        self._in_bias, self._bias = in_bias * halves, bias * halves
        self._dim = cells.hidden_size

    def __call__(self, state: Floats) -> Floats:
        dim = self._dim
        driven = rows_there(state, len(self._inputs) + 1) @ self._inputs + self._in_bias
        hidden = np.zeros(dim, np.float32)
        for step in driven:
            recalled = hidden.dot(self._recurrent) + self._bias
            opened = _HALF * np.tanh(step[: 2 * dim] + recalled[: 2 * dim]) + _HALF
            new = np.tanh(step[2 * dim :] + opened[:dim] * recalled[2 * dim :])
            hidden = new + opened[dim:] * (hidden - new)
        return hidden


_HALF = np.float32(0.5)


def _weights(cells: _Cells) -> tuple[Floats, Floats, Floats, Floats]:
    """Input weights `[F - 1, G * H]`, recurrent weights `[H, G * H]`, and both biases; copies."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    arrays = (cells.get_parameter(name).detach().cpu().numpy() for name in names)
    inputs, recurrent, in_bias, bias = (array.T.copy() for array in arrays)
    return inputs, recurrent, in_bias, bias
