"""Attention over a window in both forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.history.transformer import TransformerConfig
from agent_core.networks.attention import (
    AttentionBlock,
    AttentionNetwork,
    AttentionSummary,
    sinusoids,
)
from agent_core.types import Floats


def _summary(**changes: Any) -> AttentionSummary:
    fields: dict[str, Any] = {
        "row_dim": 4,
        "length": 6,
        "dim": 8,
        "heads": 2,
        "layers": 2,
        "is_causal": True,
        "positions": "learned",
    }
    return AttentionSummary(**(fields | changes))


def _windows(length: int, seed: int = 0) -> Floats:
    """`[length, length * 4]`: windows of normal rows, of which 1 to all are there."""
    windows = np.random.default_rng(seed).standard_normal((length, length, 4)).astype("f4")
    for missing in range(length):
        windows[missing, :, 0] = np.arange(length) >= missing
        windows[missing, :missing] = 0.0
    return windows.reshape(length, -1)


def _read(network: AttentionNetwork, windows: Floats) -> torch.Tensor:
    summaries: torch.Tensor = network(torch.from_numpy(windows))
    return summaries.detach()


def test_a_block_by_hand() -> None:
    block = AttentionBlock(width=2, heads=1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.norm.weight.fill_(1.0)
        block.key_value.weight.copy_(torch.tensor([[0.0, 0], [0, 0], [1, 0], [0, 1]]))
        block.mix.weight.copy_(torch.eye(2))
        block.narrow.bias.copy_(torch.tensor([0.5, 0.0]))
    rows = torch.tensor([[[4.0, 0.0], [4.0, 0.0]], [[-4.0, 0.0], [4.0, 0.0]]])
    both, itself = torch.tensor([True, True]), torch.tensor([False, True])

    seeing_both = block(rows, rows[:, 1:], both.expand(2, 1, 2))
    seeing_itself = block(rows, rows[:, 1:], itself.expand(2, 1, 2))

    # (4, 0) normalizes to (1, -1), and (-4, 0) to (-1, 1); those are the values, and as all logits
    # are 0 they are averaged: (1, -1), and (0, 0). Added to (4, 0), with 0.5 from the perceptron.
    torch.testing.assert_close(seeing_both[:, 0], torch.tensor([[5.5, -1.0], [4.5, 0.0]]))
    torch.testing.assert_close(seeing_itself[:, 0], torch.tensor([[5.5, -1.0], [5.5, -1.0]]))


def test_attention_weights_by_hand() -> None:
    block = AttentionBlock(width=2, heads=1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.norm.weight.fill_(1.0)
        block.query.bias.copy_(torch.tensor([1.0, 0.0]))
        block.key_value.weight.copy_(torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]]))
        block.mix.weight.copy_(torch.eye(2))
    rows = torch.tensor([[[-4.0, 0.0], [4.0, 0.0]]])

    seen = block(rows, rows[:, 1:], torch.ones(1, 1, 2, dtype=torch.bool)) - rows[:, 1:]

    # The query is (1, 0); keys and values are -1 and 1. Logits are divided by sqrt(2).
    odds = math.exp(1 / math.sqrt(2)), math.exp(-1 / math.sqrt(2))
    expected = (odds[0] - odds[1]) / (odds[0] + odds[1])
    assert expected == pytest.approx(0.6089, abs=1e-4)
    assert seen.flatten().tolist() == pytest.approx([expected, 0.0], abs=1e-4)


def test_sinusoids_by_hand() -> None:
    # Ages 2, 1 and 0 at speeds 1 and 1 / 10000^(2 / 4) = 0.01.
    expected = [
        [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)],
        [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)],
        [0.0, 0.0, 1.0, 1.0],
    ]

    torch.testing.assert_close(sinusoids(3, 4), torch.tensor(expected))


_VARIANTS: list[dict[str, Any]] = [
    {"layers": 1},
    {"layers": 3, "heads": 1},
    {"layers": 2, "heads": 4, "positions": "sinusoidal"},
    {"layers": 2, "is_causal": False},
]


@pytest.mark.parametrize("changes", _VARIANTS)
def test_the_numpy_form_agrees_for_every_number_of_rows(changes: dict[str, Any]) -> None:
    summary = _summary(**changes)
    network = summary.build_network()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # normalizations off their initial 1 and 0
    windows = _windows(6)

    form = summary.numpy_form(network)

    got = np.stack([form(window) for window in windows])
    np.testing.assert_allclose(got, _read(network, windows), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("is_causal", [True, False])
def test_a_short_history_reads_as_a_window_of_just_its_length(is_causal: bool) -> None:
    shorter = _summary(length=3, is_causal=is_causal).build_network()
    longer = _summary(length=6, is_causal=is_causal).build_network()
    weights = longer.state_dict()
    # Positions are counted from the present: the shorter window has the last three of them.
    shorter.load_state_dict(weights | {"positions": weights["positions"][-3:]})
    windows = _windows(6)[3:]

    summaries = _read(longer, windows)

    torch.testing.assert_close(_read(shorter, windows[:, 12:]), summaries)


def test_what_stands_in_absent_rows_is_never_read() -> None:
    summary = _summary()
    network = summary.build_network()
    window = _windows(6)[2]
    other = window.copy()
    other[1:4] = 99.0

    first, second = _read(network, np.stack([window, other]))

    assert torch.equal(first, second)
    form = summary.numpy_form(network)
    np.testing.assert_array_equal(form(window), form(other))


def test_an_older_row_looks_at_a_newer_one_only_with_full_attention() -> None:
    rows = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0))
    moved = rows.clone()
    moved[0, -1, 0] += 1.0
    changes = []

    for is_causal in (True, False):
        network = _summary(is_causal=is_causal).build_network()
        is_visible = network.visibility(torch.tensor([6]), 6)
        block = network.blocks[0]
        changes.append((block(moved, moved, is_visible) - block(rows, rows, is_visible))[0, :-1])

    assert torch.equal(changes[0], torch.zeros(5, 8))
    assert (changes[1].abs().amax(dim=1) > 0).all()


def test_the_order_of_older_rows_matters() -> None:
    network = _summary().build_network()
    window = _windows(6)[0].reshape(6, 4)

    swapped = window[[1, 0, 2, 3, 4, 5]]

    first, second = _read(network, np.stack([window, swapped]).reshape(2, -1))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("sizes", [{"width": 6, "heads": 2}, {"width": 8, "heads": 3}])
def test_a_width_that_the_heads_cannot_share_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is no multiple of twice heads"):
        TransformerConfig(**sizes)
