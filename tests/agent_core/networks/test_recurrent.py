"""Recurrent summaries in both forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent_core.networks.recurrent import GruSummary, LstmSummary, RecurrentNetwork
from agent_core.types import Floats

each_kind = pytest.mark.parametrize("kind", [LstmSummary, GruSummary])


def _window(rows: list[list[float]], length: int) -> Floats:
    """`rows` with their flags, after as many absent ones as are missing."""
    window = np.zeros((length, 1 + len(rows[0])), np.float32)
    window[length - len(rows) :, 0] = 1.0
    window[length - len(rows) :, 1:] = rows
    return window.reshape(-1)


def _read(network: RecurrentNetwork, window: Floats) -> torch.Tensor:
    summary: torch.Tensor = network(torch.from_numpy(window).unsqueeze(0))
    return summary.detach()


def _set(network: RecurrentNetwork, **weights: list[list[float]] | list[float]) -> None:
    """Sets the weights of the cells; those that are not named become 0."""
    for name, parameter in network.cells.named_parameters():
        values = weights.get(name.removesuffix("_l0"))
        with torch.no_grad():
            parameter.copy_(torch.zeros_like(parameter) if values is None else torch.tensor(values))


def test_an_lstm_by_hand() -> None:
    form = LstmSummary(row_dim=2, dim=1)
    network = form.build_network()
    # Gates i, f, g, o. The input moves i and g, the hidden state o; f is held at sigma(3).
    _set(
        network,
        weight_ih=[[1.0], [0.0], [2.0], [0.0]],
        weight_hh=[[0.0], [0.0], [0.0], [1.0]],
        bias_ih=[0.0, 3.0, 0.0, 0.0],
    )
    window = _window([[0.5], [-1.0]], length=3)

    got = [float(_read(network, window)), float(form.numpy_form(network)(window)[0])]

    # First row 0.5: c = sigma(0.5) tanh(1) = 0.62246 * 0.76159 = 0.47406;
    # h = sigma(0) tanh(c) = 0.22074.
    # Second row -1: c = sigma(3) c + sigma(-1) tanh(-2) = 0.45158 - 0.25927 = 0.19231;
    # h = sigma(0.22074) tanh(c) = 0.55496 * 0.18998 = 0.10543.
    assert got == pytest.approx([0.10543, 0.10543], abs=2e-5)


def test_a_gru_by_hand() -> None:
    form = GruSummary(row_dim=2, dim=1)
    network = form.build_network()
    # Gates r, z, n. z is held at sigma(1), r at sigma(-1); n sees the input and r h.
    _set(
        network,
        weight_ih=[[0.0], [0.0], [2.0]],
        weight_hh=[[0.0], [0.0], [1.0]],
        bias_ih=[-1.0, 1.0, 0.0],
        bias_hh=[0.0, 0.0, 0.5],
    )
    window = _window([[0.5], [-1.0]], length=3)

    got = [float(_read(network, window)), float(form.numpy_form(network)(window)[0])]

    # z = 0.73106, r = 0.26894.
    # First row 0.5: n = tanh(1 + r * 0.5) = tanh(1.13447) = 0.81254; h = (1 - z) n = 0.21853.
    # Second row -1: n = tanh(-2 + r (h + 0.5)) = tanh(-1.80676) = -0.94750;
    # h = (1 - z) n + z h = -0.25482 + 0.15976 = -0.09506.
    assert got == pytest.approx([-0.09506, -0.09506], abs=2e-5)


@each_kind
def test_a_short_history_reads_as_a_window_of_just_its_length(
    kind: type[LstmSummary] | type[GruSummary],
) -> None:
    form = kind(row_dim=4, dim=6)
    network = form.build_network()
    rows = np.random.default_rng(0).standard_normal((3, 3)).tolist()

    exact, padded = _window(rows, length=3), _window(rows, length=9)

    torch.testing.assert_close(_read(network, padded), _read(network, exact))
    np.testing.assert_array_equal(form.numpy_form(network)(exact), form.numpy_form(network)(padded))


@each_kind
def test_what_stands_in_absent_rows_is_never_read(
    kind: type[LstmSummary] | type[GruSummary],
) -> None:
    form = kind(row_dim=2, dim=3)
    network = form.build_network()
    window = _window([[1.0], [2.0]], length=4)
    other = window.copy()
    other[1] = 99.0

    assert torch.equal(_read(network, window), _read(network, other))
    numpy_form = form.numpy_form(network)
    np.testing.assert_array_equal(numpy_form(window), numpy_form(other))


@each_kind
def test_large_numbers_saturate_without_a_warning(
    kind: type[LstmSummary] | type[GruSummary],
) -> None:
    form = kind(row_dim=2, dim=3)
    network = form.build_network()
    window = _window([[1e30], [-1e30]], length=2)

    summary = form.numpy_form(network)(window)

    assert np.isfinite(summary).all()
    np.testing.assert_allclose(summary, _read(network, window)[0], atol=1e-6)


def test_a_fresh_lstm_keeps_what_it_has_seen() -> None:
    network = LstmSummary(row_dim=3, dim=4).build_network()

    biases = sum(network.cells.get_parameter(f"bias_{half}_l0")[4:8] for half in ("ih", "hh"))

    assert torch.equal(torch.as_tensor(biases), torch.ones(4))
