"""Nacre's learners, built from their configs and fed as `AgentLearner` feeds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import numpy as np
import torch
from pydantic import TypeAdapter

from agent_core.interfaces import OnPolicyLearner, PolicyLearnerConfig
from agent_core.registry import AnyLearner
from agent_core.replay.fifo import FifoConfig, FifoReplay
from agent_core.training.engine.engine import UpdateEngine
from agent_core.training.engine.routing import Precision
from agent_core.types import FACTS, Floats, Rollout, TransitionBlock
from benchmarks.learner.contestant import Contestant
from benchmarks.learner.task import Experience, Task, made_up

UPDATES_AT_ONCE: Final = 8
EPISODE_STEPS: Final = 128
_NEVER: Final = 10**18
_CPU: Final = torch.device("cpu")


def plain(task: Task) -> Contestant:
    """The learner's own method, called update by update."""
    return _fed(task, UpdateEngine(_NEVER))


def tuned(task: Task, precision: Precision = "full") -> Contestant:
    """What the update engine finds fastest; waits for its compiler."""
    engine = UpdateEngine(0, precision)
    contestant = _fed(task, engine)
    contestant.step()
    forms = engine.settle().values()
    return contestant._replace(form=" and ".join(sorted({form.name for form in forms})))


def _fed(task: Task, engine: UpdateEngine) -> Contestant:
    config = config_of(task)
    replay = filled(task)
    generator = torch.Generator().manual_seed(0)
    learner = config.build_learner(config.build_policy(task.spec), task.spec)
    if "on_policy" in config.capabilities:
        learn = cast("OnPolicyLearner", learner).learn_rollout
        rollout = rollout_of(replay)
        step: Callable[[], object] = partial(learn, rollout, generator, engine.run)
        return Contestant(step, task.size // task.batch_size)

    def replayed() -> None:
        batches = replay.sample(UPDATES_AT_ONCE * task.batch_size, generator)
        engine.run(learner.update, batches, UPDATES_AT_ONCE)

    return Contestant(replayed, UPDATES_AT_ONCE)


def config_of(task: Task) -> PolicyLearnerConfig:
    """The learner as a policy file would have it, with the loss and the cut of the bare loops."""
    settings: dict[str, Any] = {"kind": task.kind, "hidden": task.hidden, "max_gradient_norm": 10.0}
    if task.kind in ("dqn", "cql"):
        settings["huber_bend"] = 1.0
    if task.kind == "ppo":
        settings |= {"epochs": 1, "minibatch_size": task.batch_size}
    config: PolicyLearnerConfig = TypeAdapter(AnyLearner).validate_python(settings)
    return config


def filled(task: Task) -> FifoReplay:
    """A replay that holds the experience of `task`."""
    replay = FifoConfig(capacity=task.size).build(task.spec, _CPU)
    replay.extend(block_of(made_up(task), task))
    return replay


def rollout_of(replay: FifoReplay) -> Rollout:
    """All of it as whole episodes of `EPISODE_STEPS`."""
    (batch,) = replay.batches(len(replay))
    return Rollout(batch, torch.arange(0, len(replay) + 1, EPISODE_STEPS))


def block_of(experience: Experience, task: Task) -> TransitionBlock:
    """The same transitions with their action sets."""
    sizes = np.tile(_set_sizes(task), task.size)
    return TransitionBlock(
        experience.state,
        experience.next_state,
        _features(experience, task),
        np.concatenate([[0], sizes.cumsum()]),
        _facts(experience, task),
    )


def _set_sizes(task: Task) -> tuple[int, int]:
    """How many actions there are now and next: all, in a box the one that was taken, and none that nobody asks
    for."""
    if task.is_box:
        return 1, 0
    return task.action_dim, 0 if _is_bandit(task) else task.action_dim


def _is_bandit(task: Task) -> bool:
    return "bandit" in config_of(task).capabilities


def _features(experience: Experience, task: Task) -> Floats:
    if task.is_box:
        return experience.action.astype(np.float32)
    sets = sum(_set_sizes(task)) // task.action_dim
    return np.tile(np.eye(task.action_dim, dtype=np.float32), (sets * task.size, 1))


def _facts(experience: Experience, task: Task) -> np.ndarray[Any, Any]:
    facts = np.zeros(task.size, FACTS)
    facts["reward"], facts["terminated"] = experience.reward, experience.terminated
    facts["has_next"], facts["key"] = not _is_bandit(task), np.arange(task.size)
    facts["propensity"] = 0.5 if task.is_box else 1 / task.action_dim
    if not task.is_box:
        facts["action"] = experience.action
    return facts
