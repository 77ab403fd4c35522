"""Multilayer perceptrons over states and actions, in their torch and their numpy form.

The first layer is split: W [s; a] = W_s s + W_a a. So a state is multiplied once for its whole action
set, never repeated per action, and the action part can be prepared before the state is known.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from agent_core.functional.segments import spread
from agent_core.types import ActionScores, Doubles, Floats, ProblemSpec, RaggedActions


class ActionInput(nn.Module):
    """What a network sees of an action: its row, with the position of an embedded id replaced by what is
    learned about it."""

    def __init__(self, spec: ProblemSpec) -> None:
        super().__init__()
        embedding = spec.embedding
        self.table = None if embedding is None else nn.Embedding(embedding.rows, embedding.dim)
        self.dim = spec.action_dim if embedding is None else spec.action_dim - 1 + embedding.dim

    def forward(self, actions: torch.Tensor) -> torch.Tensor:
        """`[N, D]` to `[N, dim]`."""
        if self.table is None:
            return actions
        learned = self.table(actions[:, 0].long())
        return torch.cat([learned, actions[:, 1:]], dim=1)


class StateInput(nn.Module):
    """What a network sees of a state: all of it, or the learned summary of a window."""

    def __init__(self, spec: ProblemSpec) -> None:
        super().__init__()
        self.summary = None if spec.summary is None else spec.summary.build_network()
        self.dim = spec.state_dim if spec.summary is None else spec.summary.dim
        self._form = spec.summary

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, S]` to `[B, dim]`."""
        return state if self.summary is None else self.summary(state)

    def numpy_form(self) -> Callable[[Floats], Floats] | None:
        """The same for one state `[S]`; None where nothing is to be done."""
        if self._form is None or self.summary is None:
            return None
        return self._form.numpy_form(self.summary)


class JointFeatures(nn.Module):
    """Hidden layers over state and action. `hidden` has at least one width."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.state_input, self.action_input = StateInput(spec), ActionInput(spec)
        self.action_in = nn.Linear(self.action_input.dim, hidden[0])
        state_dim = self.state_input.dim
        self.state_in = nn.Linear(state_dim, hidden[0], bias=False) if state_dim else None
        self.between = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(hidden))

    def forward(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        """`[N, H]`: the last hidden layer of every action in its state, for `state` `[B, S]`."""
        seen = self.of_state(state)
        return self.joined(None if seen is None else spread(seen, actions), actions.features)

    def of_state(self, state: torch.Tensor) -> torch.Tensor | None:
        """`[B, H]`: what the first layer adds to the part of each action, bias included; None without a state."""
        if self.state_in is None:
            return None
        from_state: torch.Tensor = self.state_in(self.state_input(state)) + self.action_in.bias
        return from_state

    def joined(self, seen: torch.Tensor | None, actions: torch.Tensor) -> torch.Tensor:
        """`[M, H]` for rows of actions `[M, D]`, each with what its state adds, `[M, H]`."""
        layer, inputs = self.action_in, self.action_input(actions)
        if seen is None:
            return self._above(layer(inputs))
        return self._above(torch.addmm(seen, inputs, layer.weight.T))

    def pairs(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[B, H]`: the last hidden layer of one action `[B, D]` for each `state` `[B, S]`."""
        first: torch.Tensor = self.action_in(self.action_input(action))
        if self.state_in is not None:
            first = first + self.state_in(self.state_input(state))
        return self._above(first)

    def _above(self, first: torch.Tensor) -> torch.Tensor:
        layer = first.relu_()
        for linear in self.between:
            layer = linear(layer).relu_()
        return layer


class ActionValueNetwork(nn.Module):
    """Numbers about actions in states, over ragged action sets: `JointFeatures` and one linear output.

    `outputs`: how many numbers for each action; with 1, results have no axis for them.
    """

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...], outputs: int = 1) -> None:
        super().__init__()
        self.features = JointFeatures(spec, hidden)
        self.out = nn.Linear(hidden[-1], outputs)

    def forward(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        """`[N]` or `[N, outputs]` for every action in its state, for `state` `[B, S]`."""
        if len(actions.features) <= _PIECE:
            value: torch.Tensor = self.out(self.features(state, actions)).squeeze(-1)
            return value
        return self._in_pieces(state, actions)

    def _in_pieces(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        """The same, through all layers piece by piece: what lies between them stays in the cache."""
        seen, tables = self.features.of_state(state), actions.features.split(_PIECE)
        rows = actions.segments().split(_PIECE)
        values = [
            self.out(self.features.joined(None if seen is None else seen.index_select(0, r), table))
            for r, table in zip(rows, tables, strict=True)
        ]
        return torch.cat(values).squeeze(-1)

    def pairs(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[B]` or `[B, outputs]` for one action `[B, D]` of each `state` `[B, S]`."""
        value: torch.Tensor = self.out(self.features.pairs(state, action)).squeeze(-1)
        return value


_PIECE = 2048
"""Rows: a layer of 64 units takes half a megabyte for them. Over 120,000 rows, a pass took a third of the time that all at
once took, and 0.6 of it with its backward pass; pieces of 8192 rows took half as long again."""


class StateNetwork(nn.Module):
    """Numbers about states: a multilayer perceptron. `outputs`: how many; with 1, there is no axis for them."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...], outputs: int = 1) -> None:
        super().__init__()
        self.state_input = StateInput(spec)
        # Without an observation every state is the same one: the number 1.
        self.has_state = self.state_input.dim > 0
        widths = (self.state_input.dim or 1, *hidden)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.out = nn.Linear(hidden[-1], outputs)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B]` or `[B, outputs]`, for `state` `[B, S]`."""
        layer = self.state_input(state) if self.has_state else state.new_ones(len(state), 1)
        for linear in self.layers:
            layer = linear(layer).relu()
        value: torch.Tensor = self.out(layer).squeeze(-1)
        return value


class NumpyFeatures:
    """`JointFeatures` as numpy, for one decision at a time; copies the weights it is given.

    Every layer carries one more unit that is always 1: the biases ride in the matrices, and no step
    needs an addition of its own. Measured for 10 actions and 64x64 units: 5.2 us against 6.6 us.
    """

    def __init__(self, network: JointFeatures) -> None:
        self._action_in = _with_constant(network.action_in)
        self._state_in = None if network.state_in is None else _from_state(network.state_in)
        self._between = tuple(_with_constant(linear) for linear in _linears(network.between))
        self._summary = network.state_input.numpy_form()
        table = network.action_input.table
        self._table = None if table is None else table.weight.detach().cpu().numpy().copy()

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]`: the action half of the first layer, bias included."""
        if self._table is not None:
            learned = self._table.take(actions[:, 0].astype(np.intp), axis=0)
            actions = np.concatenate((learned, actions[:, 1:]), axis=1)
        prepared: Floats = actions @ self._action_in[:-1] + self._action_in[-1]
        return prepared

    def features(self, state: Floats, prepared: Floats) -> Floats:
        """`[A, H + 1]` float32: the last hidden layer and the constant 1."""
        if self._state_in is None:
            layer = np.maximum(prepared, _ZERO)
        else:
            if self._summary is not None:
                state = self._summary(state)
            layer = prepared + state.dot(self._state_in)
            np.maximum(layer, _ZERO, out=layer)
        for matrix in self._between:
            layer = layer.dot(matrix)
            np.maximum(layer, _ZERO, out=layer)
        return layer


class NumpyOutputs:
    """`ActionValueNetwork` as numpy: `[A, outputs]` float32 in one decision."""

    def __init__(self, network: ActionValueNetwork) -> None:
        self._hidden = NumpyFeatures(network.features)
        self._out = np.ascontiguousarray(_with_constant(network.out)[:, :-1])

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]`: the action half of the first layer."""
        return self._hidden.prepare(actions)

    def outputs(self, state: Floats, prepared: Floats) -> Floats:
        outputs: Floats = self._hidden.features(state, prepared).dot(self._out)
        return outputs


class NumpyActionValue:
    """The `Scorer` of an `ActionValueNetwork` with one output."""

    def __init__(self, network: ActionValueNetwork) -> None:
        self._hidden = NumpyFeatures(network.features)
        self._out = _with_constant(network.out)[:, 0].copy()

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]`: the action half of the first layer."""
        return self._hidden.prepare(actions)

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        value: Floats = self._hidden.features(state, prepared).dot(self._out)
        return value.astype(np.float64)

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        """Without a spread."""
        return ActionScores(self.value(state, prepared))


class NumpyState:
    """`StateNetwork` as numpy: `[outputs]` float32 for one state `[S]`."""

    def __init__(self, network: StateNetwork) -> None:
        self._summary = network.state_input.numpy_form()
        self._has_state = network.has_state
        layers = (*_linears(network.layers), network.out)
        self._layers = [(_copied(layer.weight).T, _copied(layer.bias)) for layer in layers]

    def outputs(self, state: Floats) -> Floats:
        layer = state if self._summary is None else self._summary(state)
        if not self._has_state:
            layer = np.ones(1, np.float32)
        for weight, bias in self._layers[:-1]:
            layer = np.maximum(layer.dot(weight) + bias, _ZERO)
        weight, bias = self._layers[-1]
        outputs: Floats = layer.dot(weight) + bias
        return outputs


_ZERO = np.zeros((), np.float32)


def _linears(modules: nn.ModuleList) -> list[nn.Linear]:
    return [module for module in modules if isinstance(module, nn.Linear)]


def _copied(tensor: torch.Tensor) -> Floats:
    copied: Floats = tensor.detach().cpu().numpy().copy()
    return copied


def _with_constant(linear: nn.Linear) -> Floats:
    """`[I + 1, O + 1]`: maps (x, 1) to (weight @ x + bias, 1)."""
    matrix = np.zeros((linear.in_features + 1, linear.out_features + 1), np.float32)
    matrix[:-1, :-1] = linear.weight.detach().cpu().numpy().T
    matrix[-1, :-1] = linear.bias.detach().cpu().numpy()
    matrix[-1, -1] = 1.0
    return matrix


def _from_state(linear: nn.Linear) -> Floats:
    """`[S, O + 1]`, contiguous: the state adds nothing to the constant unit."""
    matrix = np.zeros((linear.in_features, linear.out_features + 1), np.float32)
    matrix[:, :-1] = linear.weight.detach().cpu().numpy().T
    return matrix
