"""Several processes train one learner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agent_core.errors import ConfigError
from agent_core.policy_learners.actor_critic.reinforce import ReinforceConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.safety.reward_constrained import RewardConstrainedConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.parallel import Ranks
from agent_core.training.schedule import ScheduleConfig
from tests.support.learners import LEARNERS, spec_of
from tests.support.one_of_several_ranks import weights_after


@pytest.mark.parametrize("kind", ["dqn", "td3"])
def test_two_processes_learn_what_one_learns_from_whole_batches(kind: str, tmp_path: Path) -> None:
    result = tmp_path / "weights.safetensors"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = ["--nproc-per-node", "2", "-m", "tests.support.one_of_several_ranks"]

    subprocess.run([*torchrun, *program, kind, str(result)], check=True, capture_output=True)

    alone, together = weights_after(kind, None), load_file(result)
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-4, atol=1e-5)


def test_a_rank_has_its_rows_of_every_batch() -> None:
    class Rows(list[int]):
        def split(self, count: int) -> list[Rows]:
            size = len(self) // count
            return [Rows(self[i * size : (i + 1) * size]) for i in range(count)]

    batch = Rows(range(6))

    assert [Ranks(rank, 3).part(batch) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("is_constrained", [True, False])
def test_what_is_moved_by_more_than_gradients_is_refused(is_constrained: bool) -> None:
    kind = "dqn" if is_constrained else "linear"
    config = {one.model_fields["kind"].default: one for one in LEARNERS}[kind]()
    safety = RewardConstrainedConfig(cost_limit=1.0) if is_constrained else None

    with pytest.raises(ConfigError, match="train it in one process"):
        AgentLearner(
            config,
            None,
            ScheduleConfig(),
            spec_of(config),
            safety_config=safety,
            ranks=Ranks(0, 2),
        )


def test_what_learns_from_whole_episodes_is_refused() -> None:
    """An episode of 5 steps has no halves."""
    config = ReinforceConfig()

    with pytest.raises(ConfigError, match=r"whole episodes.*train it in one process"):
        AgentLearner(config, None, ScheduleConfig(), spec_of(config), ranks=Ranks(0, 2))


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    config, schedule = DqnConfig(), ScheduleConfig(batch_size=64)

    with pytest.raises(ConfigError, match=r"agent\.schedule\.batch_size: 64 .*use a multiple of 3"):
        AgentLearner(config, None, schedule, spec_of(config), ranks=Ranks(0, 3))
