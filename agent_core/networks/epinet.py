"""A network with an epinet on top: one opinion about every action for each epistemic index.

Osband et al. 2023, "Epistemic Neural Networks", the definition of the epinet: f(x, z) = mu(x) + sigma(sg[phi(x)],
z), where mu is the base network, phi(x) are features of it, sg stops the gradient, and sigma is a perceptron
whose outputs are multiplied by the index z. The part of sigma that is a fixed prior is not here, but with the
policy. Letters: N actions, H features, M indices, Z length of an index.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from agent_core.networks.perceptrons import ActionValueNetwork, NumpyFeatures
from agent_core.types import Floats, ProblemSpec, RaggedActions


class EpistemicNetwork(nn.Module):
    """base(s, a) + e(features(s, a), z) . z, where e is a perceptron with one hidden layer of `units`.

    The learned part of the definition above: base is mu, e(., z) . z is sigma. The features are the last hidden
    layer of the base. The epinet reads them and moves them by no gradient (sg): how the base learns does not
    depend on what the epinet is uncertain about. Values are in the unit of the return.
    """

    def __init__(
        self, spec: ProblemSpec, hidden: tuple[int, ...], index_dim: int, units: int
    ) -> None:
        super().__init__()
        self.base = ActionValueNetwork(spec, hidden)
        self.features_in = nn.Linear(hidden[-1], units)
        self.index_in = nn.Linear(index_dim, units, bias=False)
        self.out = nn.Linear(units, index_dim)

    def forward(
        self, state: torch.Tensor, actions: RaggedActions, index: torch.Tensor
    ) -> torch.Tensor:
        """`[N, M]` for every action in its state `[B, S]`, at `index` `[M, Z]` or `[N, M, Z]`."""
        return self._at(self.base.features(state, actions), index)

    def pairs(self, state: torch.Tensor, action: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """`[B, M]` for one action `[B, D]` of each `state` `[B, S]`, at `index` `[B, M, Z]`."""
        return self._at(self.base.features.pairs(state, action), index)

    def _at(self, features: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        layer = self.features_in(features.detach()).unsqueeze(1) + self.index_in(index)
        value: torch.Tensor = self.base.out(features) + (self.out(layer.relu()) * index).sum(-1)
        return value


class NumpyEpistemic:
    """`EpistemicNetwork` at fixed indices `[M, Z]` as numpy: `[A, M]` float32 in one decision.

    What does not depend on the decision is multiplied once: e(x, z) . z is linear in the hidden layer,
    so the output layer and the index make one vector for each index.
    """

    def __init__(self, network: EpistemicNetwork, indices: torch.Tensor) -> None:
        self._hidden = NumpyFeatures(network.base.features)
        with torch.no_grad():
            both = (network.features_in, network.base.out)
            weight = torch.cat([linear.weight for linear in both])
            bias = torch.cat([linear.bias for linear in both])
            self._from_features = _copied(torch.cat([weight, bias.unsqueeze(1)], dim=1).T)
            self._from_index = _copied(network.index_in(indices))
            self._readout = _copied(indices @ network.out.weight)
            self._level = _copied(indices @ network.out.bias)

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]`: the action half of the first layer."""
        return self._hidden.prepare(actions)

    def outputs(self, state: Floats, prepared: Floats) -> Floats:
        read = self._hidden.features(state, prepared).dot(self._from_features)
        layer = read[:, None, :-1] + self._from_index
        np.maximum(layer, _ZERO, out=layer)
        outputs: Floats = np.einsum("amu,mu->am", layer, self._readout)
        outputs += read[:, -1:] + self._level
        return outputs


_ZERO = np.zeros((), np.float32)


def _copied(tensor: torch.Tensor) -> Floats:
    return np.array(tensor.detach().cpu().numpy(), np.float32, order="C")
