"""From which size of a network on two processes train it faster than one: `python -m benchmarks.learner.ranks`.

TD3 on batches of 256 rows, 17 observed and 6 controlled numbers, one thread a process. One process has the whole batch, each of
two has half of it and the mean of both gradients. The two ways take turns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import torch
import torch.distributed as dist

from agent_core.registry import AnyLearner, members
from agent_core.training.engine.engine import UpdateEngine
from agent_core.training.parallel import Ranks
from benchmarks.learner.ours import filled
from benchmarks.learner.task import Task
from benchmarks.machine import Machine, describe_machine

_UNITS: Final = (64, 256, 512, 1024)
_BATCH, _UPDATES, _ROUNDS = 256, 8, 10
_RESULT: Final = Path(__file__).with_name("ranks.json")


class Crossover(msgspec.Struct, frozen=True):
    """`over_one`: by the units of both layers, how many times the updates of one process two made."""

    command: str
    machine: Machine
    over_one: dict[int, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=_RESULT)
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        _measure(options.json)
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    module = ["2", "-m", "benchmarks.learner.ranks", "--as-rank", "--json", str(options.json)]
    subprocess.run([*torchrun, *module], check=True)


def _measure(path: Path) -> None:
    torch.set_num_threads(1)
    ranks = Ranks.joined(torch.device("cpu"))
    over_one = {units: _over_one(units, ranks) for units in _UNITS}
    if ranks.rank == 0:
        found = Crossover(
            "python -m benchmarks.learner.ranks", describe_machine(("torch",)), over_one
        )
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        for units, ratio in over_one.items():
            print(f"{units} units: two processes make {ratio:.2f} times the updates of one")
    ranks.leave()


def _over_one(units: int, ranks: Ranks) -> float:
    """The median over rounds; while one process works alone, the other waits for it."""
    together, alone = _Training(units, ranks), _Training(units, None)
    ratios = []
    for _ in range(_ROUNDS):
        dist.barrier()
        shared_s = together.seconds()
        dist.barrier()
        alone_s = alone.seconds() if ranks.rank == 0 else 0.0
        ratios.append(alone_s / shared_s)
    return round(statistics.median(ratios), 2)


class _Training:
    """A learner, and one draw of batches for it."""

    def __init__(self, units: int, ranks: Ranks | None) -> None:
        task = Task("td3", (units, units), _BATCH, 17, 6, is_box=True)
        kinds = {one.model_fields["kind"].default: one for one in members(AnyLearner)}
        config = kinds[task.kind](hidden=task.hidden)
        torch.manual_seed(0)
        self._learner = config.build_learner(config.build_policy(task.spec), task.spec)
        if ranks is not None:
            ranks.join(self._learner, _BATCH)
        self._engine = UpdateEngine(10**18, ranks=ranks)
        generator = torch.Generator().manual_seed(0)
        self._batches = filled(task).sample(_BATCH * _UPDATES, generator)
        self.seconds()

    def seconds(self) -> float:
        """What a block of updates took."""
        start = time.perf_counter()
        self._engine.run(self._learner.update, self._batches, _UPDATES)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
