"""The largest value over action sets of very different sizes: our flat table against padding to the largest set.

B decisions, A actions in the largest set, N actions in all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import nn

from agent_core.functional.segments import segment_max
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.types import ProblemSpec, RaggedActions
from benchmarks.learner.contestant import Contestant, NotMeasuredError

SPEC: Final = ProblemSpec(state_dim=32, action_dim=16, max_actions=1000)
HIDDEN: Final = (64, 64)
_TOLERANCE: Final = 1e-4


class Sets(NamedTuple):
    """What is asked. `state`: `[B, S]`. `padded`: `[B, A, D]`, zeros beyond the end of a set. `is_action`:
    `[B, A]`."""

    state: torch.Tensor
    actions: RaggedActions
    padded: torch.Tensor
    is_action: torch.Tensor


def made_up(decisions: int = 256, largest: int = SPEC.max_actions) -> Sets:
    """Sets of 2 to `largest` actions, each size as likely as any other."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(2, largest + 1, (decisions,), generator=generator)
    offsets = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
    features = torch.randn(int(offsets[-1]), SPEC.action_dim, generator=generator)
    is_action = torch.arange(int(sizes.max())) < sizes[:, None]
    padded = torch.zeros(*is_action.shape, SPEC.action_dim)
    padded[is_action] = features
    state = torch.randn(decisions, SPEC.state_dim, generator=generator)
    return Sets(state, RaggedActions(features, offsets), padded, is_action)


class Padded(nn.Module):
    """The network of `trained` as one usually writes it: the state repeated for every action, one first layer."""

    def __init__(self, trained: ActionValueNetwork) -> None:
        super().__init__()
        features = trained.features
        assert features.state_in is not None
        first = nn.Linear(SPEC.state_dim + SPEC.action_dim, HIDDEN[0])
        with torch.no_grad():
            first.weight.copy_(torch.cat([features.state_in.weight, features.action_in.weight], 1))
            first.bias.copy_(features.action_in.bias)
        (between,) = features.between
        self.layers = nn.Sequential(first, nn.ReLU(), between, nn.ReLU(), trained.out)

    def forward(self, sets: Sets) -> torch.Tensor:
        """`[B]`: the largest value of each set."""
        repeated = sets.state[:, None].expand(-1, sets.padded.shape[1], -1)
        values = self.layers(torch.cat([repeated, sets.padded], 2)).squeeze(2)
        largest: torch.Tensor = values.masked_fill(~sets.is_action, -torch.inf).amax(1)
        return largest


Form = Callable[[Sets], torch.Tensor]
"""The largest value `[B]` of each set, with gradient."""


def forms() -> tuple[Form, Form]:
    """Ours and the padded one, of the same weights."""
    network = ActionValueNetwork(SPEC, HIDDEN)

    def ours(sets: Sets) -> torch.Tensor:
        return segment_max(network(sets.state, sets.actions), sets.actions)

    return ours, Padded(network)


def flat(*, is_training: bool) -> Contestant:
    """A step is one forward pass over the flat table, and with `is_training` a backward pass too."""
    return _contestant(forms()[0], made_up(), is_training=is_training)


def padded(*, is_training: bool) -> Contestant:
    """The same over the padded one.

    Raises: NotMeasuredError: the two forms do not agree.
    """
    sets, (ours, other) = made_up(), forms()
    with torch.no_grad():
        apart = float((ours(sets) - other(sets)).abs().max())
    if apart > _TOLERANCE:
        raise NotMeasuredError(f"the forms differ by {apart:.1e}")
    return _contestant(other, sets, is_training=is_training)


def _contestant(form: Form, sets: Sets, *, is_training: bool) -> Contestant:
    def trained() -> None:
        form(sets).mean().backward()

    @torch.no_grad()
    def inferred() -> None:
        form(sets)

    return Contestant(trained if is_training else inferred, 1)
