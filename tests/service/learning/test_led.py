"""What one rank learns, all ranks learn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.led import AGENTS


def held_by_ranks(folder: Path, *options: str) -> list[list[str]]:
    """What each of two ranks says of its learners, see `tests.support.led`."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = ["--nproc-per-node", "2", "-m", "tests.support.led", str(folder), *options]
    subprocess.run([*torchrun, *program], check=True, capture_output=True, timeout=100)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_all_ranks_hold_the_same_to_the_last_bit(tmp_path: Path) -> None:
    """After learning, updates besides, a checkpoint and more learning; after a learner that was refused by all of
    them; and they have forgotten the learners that the first has no more."""
    (refusal, *leading), following = held_by_ranks(tmp_path)

    assert refusal.endswith("train it in one process")
    assert len(set(leading)) == len(AGENTS)
    assert following == leading


def test_a_rank_that_fails_alone_ends_the_training_of_all(tmp_path: Path) -> None:
    ends = held_by_ranks(tmp_path, "forgetful")

    assert ends == [["1 of 2 processes did what was asked, others failed"]] * 2
