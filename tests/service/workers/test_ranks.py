"""Which of several processes does what, and where it computes."""

from __future__ import annotations

import pytest
import torch

from agent_core.errors import ConfigError
from service.workers.ranks import are_several, is_follower, own_device

CUDA = torch.device("cuda")


@pytest.fixture
def third_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the second of two machines: two processes each."""
    told = {"WORLD_SIZE": 4, "RANK": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_a_process_that_nobody_told_anything_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    assert not are_several()
    assert not is_follower()


def test_one_process_of_torchrun_is_alone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")

    assert not are_several()


@pytest.mark.usefixtures("third_of_four")
def test_the_first_process_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_follower()

    monkeypatch.setenv("RANK", "0")

    assert are_several()
    assert not is_follower()


@pytest.mark.usefixtures("third_of_four")
def test_each_process_has_a_gpu_of_its_machine_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    first = own_device(CUDA)
    monkeypatch.setenv("LOCAL_RANK", "1")

    assert (first, own_device(CUDA)) == (torch.device("cuda:0"), torch.device("cuda:1"))
    assert own_device(torch.device("cpu")).type == "cpu"


@pytest.mark.usefixtures("third_of_four")
def test_too_few_gpus_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1)

    with pytest.raises(ConfigError, match=r"NACRE_DEVICE: gives 1 GPUs to 2 .*--nproc-per-node 1"):
        own_device(CUDA)


@pytest.mark.usefixtures("third_of_four")
def test_one_gpu_for_all_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"NACRE_DEVICE: is cuda:1 .*; set it to cuda"):
        own_device(torch.device("cuda:1"))
