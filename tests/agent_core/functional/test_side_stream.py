"""What leaves a device: whole, at once, and as it was when it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agent_core.functional.side_stream import AtOnce, SideStream, fetched, on_host, side_stream
from agent_core.interfaces import TrainingState
from agent_core.snapshot import TrainingCheckpoint
from tests.support.late_stream import DEVICES, LateStream
from tests.support.learners import checkpoint

_CPU = torch.device("cpu")


def _state() -> TrainingState:
    """Numbers of every width, none of which lies at a multiple of its own in this order."""
    return {
        "flag": torch.tensor([True, False, True]),
        "weight": torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).T,
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "counter": torch.tensor(2**62 + 1),
        "nothing": torch.zeros(0, 4),
        "precise": torch.tensor([0.1], dtype=torch.float64),
    }


@pytest.mark.parametrize("stream", [LateStream(), AtOnce(_CPU)], ids=["late", "at once"])
def test_tensors_of_every_kind_come_out_as_they_are(stream: SideStream) -> None:
    state = _state()

    out = fetched(state, stream)

    assert list(out) == list(state)
    for name, value in state.items():
        assert (out[name].dtype, out[name].shape) == (value.dtype, value.shape)
        assert torch.equal(out[name], value)


def test_all_of_them_cross_in_one_copy() -> None:
    stream = LateStream()

    fetched(_state(), stream)

    # 3 flags, 15 weights of 4 bytes, 2 of a bfloat16, 8 each of an integer and a double.
    assert stream.fetched_bytes == [3 + 60 + 2 + 8 + 8]


def test_what_came_out_does_not_follow_further_learning() -> None:
    state = _state()

    out = fetched(state, AtOnce(_CPU))
    state["weight"].zero_()

    assert torch.equal(out["weight"], _state()["weight"])


def test_what_came_out_can_be_saved(tmp_path: Path) -> None:
    checkpoint(fetched(_state(), LateStream())).save(tmp_path)

    newest = TrainingCheckpoint.load_latest(tmp_path)

    assert newest is not None
    assert newest.state.keys() == _state().keys()
    assert all(torch.equal(newest.state[name], value) for name, value in _state().items())


def test_what_is_on_the_host_is_not_copied() -> None:
    state = _state()

    out = on_host(state)

    assert all(out[name] is value for name, value in state.items())


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_is_sent_to_a_device_comes_back(device: torch.device) -> None:
    stream = side_stream(device)
    buffer = stream.buffer(1 << 20).random_(256)

    there, _ = stream.sent(buffer)

    assert there.device.type == device.type
    assert torch.equal(on_host({"a": there})["a"], buffer)
