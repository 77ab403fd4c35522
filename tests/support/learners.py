"""Small learners of every registered kind, made-up transitions for them, and what they became."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from agent_core.functional.flat_state import under
from agent_core.interfaces import (
    PolicyLearner,
    PolicyLearnerConfig,
    ReplayConfig,
    Splittable,
    TrainingState,
    Update,
)
from agent_core.registry import AnyLearner, AnyReplay, members
from agent_core.replay.fifo import FifoConfig
from agent_core.snapshot import TrainingCheckpoint
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Box, ProblemSpec, RaggedActions, Transition

SPEC = ProblemSpec(state_dim=3, action_dim=2, max_actions=10)
_Batch = TypeVar("_Batch", bound=Splittable)
LEARNERS: tuple[type[Any], ...] = members(AnyLearner)


BOX_SPEC = ProblemSpec(state_dim=3, action_dim=2, max_actions=1, box=Box((-2.0, 0.0), (2.0, 1.0)))


def spec_of(config: Any) -> ProblemSpec:
    """The problem that learners of this config are tested on."""
    return BOX_SPEC if "box" in config.capabilities else SPEC


def agent_learner(config: PolicyLearnerConfig, spec: ProblemSpec | None = None) -> AgentLearner:
    """A learner with an update for every transition but the first five, eight at once, from a replay of 64;
    an on-policy one learns whenever it has whole episodes of 16 transitions."""
    schedule = ScheduleConfig(batch_size=16, updates_per_transition=1, warmup_transitions=5, seed=3)
    return AgentLearner(config, _memory_for(config), schedule, spec or spec_of(config))


def _memory_for(config: PolicyLearnerConfig) -> ReplayConfig | None:
    if "on_policy" in config.capabilities:
        rollouts = next(c for c in members(AnyReplay) if "on_policy" in c.needs)
        memory: ReplayConfig = rollouts(rollout_transitions=16)
        return memory
    return FifoConfig(capacity=64) if "replay" in config.capabilities else None


def action_set(generator: np.random.Generator, size: int, dim: int = SPEC.action_dim) -> ActionSet:
    """`size` actions with normal features."""
    features = generator.standard_normal((size, dim)).astype(np.float32)
    return ActionSet(tuple(map(str, range(size))), features)


def made_up(count: int, seed: int = 0, spec: ProblemSpec = SPEC) -> list[Transition]:
    """`count` transitions with 1 to 5 actions, some terminal, with normal numbers."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return [_made_up(generator, spec, seed, number) for number in range(count)]


EPISODE_STEPS = 4


def _made_up(
    generator: np.random.Generator, spec: ProblemSpec, seed: int, number: int
) -> Transition:
    actions = _choices(generator, spec)
    terminated = bool(generator.random() < 0.3)
    following = _choices(generator, spec)
    episode, step = divmod(number, EPISODE_STEPS)
    return Transition(
        decision_id=str(number),
        state=generator.standard_normal(spec.state_dim).astype(np.float32),
        actions=actions,
        action=int(generator.integers(len(actions))),
        reward=float(generator.standard_normal()),
        cost=float(generator.random()),
        next_state=generator.standard_normal(spec.state_dim).astype(np.float32),
        next_actions=following,
        terminated=terminated and step == EPISODE_STEPS - 1,
        truncated=not terminated and step == EPISODE_STEPS - 1,
        propensity=1.0 / len(actions),
        model_version=1,
        next_action=int(generator.integers(len(following))),
        episode_id=f"{seed}-{episode}",
        step=step,
    )


def _choices(generator: np.random.Generator, spec: ProblemSpec) -> ActionSet:
    """1 to 5 actions, or, in a box, one."""
    if spec.box is None:
        return action_set(generator, int(generator.integers(1, 6)), spec.action_dim)
    taken = generator.uniform(spec.box.low, spec.box.high).astype(np.float32)
    return ActionSet(("box",), taken.reshape(1, -1))


def ragged(sets: Sequence[ActionSet]) -> RaggedActions:
    """The sets one after the other."""
    features = torch.from_numpy(np.concatenate([s.features for s in sets]))
    return RaggedActions(features, torch.tensor(np.cumsum([0, *map(len, sets)])))


def sets_of(*sizes: int) -> RaggedActions:
    """Sets of so many actions; their only feature counts all actions from 0."""
    features = torch.arange(float(sum(sizes))).unsqueeze(1)
    return RaggedActions(features, torch.tensor([0, *accumulate(sizes)]))


def one_by_one(step: Callable[[_Batch], Update], batches: _Batch, count: int) -> list[Update]:
    """A `Runner` that just calls `step`."""
    return [step(one) for one in batches.split(count)]


def fingerprint(state: TrainingState) -> str:
    """A hash of every name and every bit."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def weights_and_moments(learner: PolicyLearner) -> str:
    """A fingerprint of all that an update changes but counters, which go on also where one is refused."""
    state = learner.training_state()
    moved = {k: v for k, v in state.items() if not k.endswith(("updates", "noise.value"))}
    return fingerprint(moved | under("policy", learner.policy.state_dict()))


def checkpoint(state: TrainingState) -> TrainingCheckpoint:
    """A checkpoint of `state`; the rest is made up."""
    return TrainingCheckpoint(
        policy="p",
        config_hash="c:1",
        feature_schema="fs:1",
        position="1-0",
        model_version=1,
        created_at="2025-01-01T00:00:00Z",
        state=state,
    )


def twenty_updates_more(config: PolicyLearnerConfig) -> list[Transition]:
    """Transitions after which a learner of `agent_learner` has made 20 updates more, or observed 20 times.

    Updates come eight at once, so 20 of them may need 27 transitions; a rollout of 16 is one update for each
    epoch.
    """
    rollouts = math.ceil(20 / getattr(config, "epochs", 1))
    count = 16 * rollouts if "on_policy" in config.capabilities else 30
    return made_up(count, seed=9, spec=spec_of(config))


def continued(directory: Path, kind: str) -> str:
    """The fingerprint of the learner in the newest checkpoint below `directory`, after 20 updates more."""
    config = next(c for c in LEARNERS if c.model_fields["kind"].default == kind)()
    learner = agent_learner(config)
    newest = TrainingCheckpoint.load_latest(directory)
    assert newest is not None
    learner.load_training_state(newest.state)
    learner.learn(twenty_updates_more(config))
    return fingerprint(learner.training_state())


if __name__ == "__main__":
    # A process of its own: continues every learner below the given folder, one line each.
    torch.set_num_threads(1)
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        sys.stdout.write(f"{folder.name} {continued(folder, folder.name)}\n")
