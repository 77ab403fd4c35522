"""Updates of any learner as the engine is given them: a step, and batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch.fx import GraphModule

from agent_core.interfaces import OnPolicyLearner, PolicyLearner, Splittable, Update
from agent_core.policy_learners.parts import LearnsInBatches, adam_of
from agent_core.policy_learners.weights import Weights
from agent_core.training.collate import collate
from agent_core.training.engine.capture import Function
from agent_core.training.engine.program import UpdateStep
from agent_core.types import Rollout, Transition, TransitionBatch
from tests.support.learners import action_set, made_up, spec_of

ROWS = 8
"""Of the batch of each update."""


class Work(NamedTuple):
    """What the engine's `run` is called with."""

    step: UpdateStep
    batches: Any
    times: int


def small(config_class: type[Any], **options: Any) -> Any:
    """A config of a learner so small that its update is traced in a second."""
    sizes: dict[str, Any] = {"hidden": (8,), "minibatch_size": ROWS}
    known = config_class.model_fields
    return config_class(**{k: v for k, v in (sizes | options).items() if k in known})


def work_of(config: Any, count: int = 3, *, is_ragged: bool = False) -> Work:
    """`count` updates of a fresh learner, or, of an on-policy one, what it asks a runner for first."""
    spec = spec_of(config)
    learner = config.build_learner(config.build_policy(spec), spec)
    batch = batch_of(config, count, is_ragged=is_ragged)
    return (
        _asked(learner, batch)
        if "on_policy" in config.capabilities
        else Work(learner.update, batch, count)
    )


def batch_of(config: Any, count: int, *, is_ragged: bool = False, seed: int = 0) -> TransitionBatch:
    """The rows of `count` updates. `is_ragged`: their sets have from 1 to 5 actions, else all have as many."""
    spec = spec_of(config)
    made = made_up(count * ROWS, seed, spec)
    is_left = is_ragged or spec.box is not None
    return collate(made if is_left else _of_one_size(made), spec, torch.device("cpu"))


def _of_one_size(transitions: Sequence[Transition], size: int = 4) -> list[Transition]:
    """The same with other actions, `size` in each set."""
    generator = np.random.Generator(np.random.PCG64(0))

    def changes() -> dict[str, Any]:
        sets = {name: action_set(generator, size) for name in ("actions", "next_actions")}
        taken = {name: int(generator.integers(size)) for name in ("action", "next_action")}
        return sets | taken

    return [replace(transition, **changes()) for transition in transitions]


def _asked(learner: PolicyLearner, batch: TransitionBatch) -> Work:
    asked: list[Work] = []

    def note(step: UpdateStep, batches: Splittable, count: int) -> list[Update]:
        asked.append(Work(step, batches, count))
        return []

    rollout = Rollout(batch, torch.tensor([0, len(batch.reward)]))
    cast("OnPolicyLearner", learner).learn_rollout(rollout, torch.Generator(), note)
    return asked[0]


class SlowLearner(LearnsInBatches):
    """Draws a line through costs and rewards. Its updates take long for what no program has to do.

    `calls`: updates that were made by calling `update`.
    """

    def __init__(self, width: int = 1) -> None:
        self._network = torch.nn.Linear(1, width)
        weights = Weights(self._network)
        self._step = adam_of(weights, 0.01, max_norm=10.0)
        super().__init__(None, {"network": weights, "step": self._step})
        self.calls = 0

    def update(self, batch: TransitionBatch) -> Update:
        self.calls += sum(range(200_000)) > 0
        self.updates += 1
        errors = self._network(batch.cost.unsqueeze(1)) - batch.reward.unsqueeze(1)
        return Update(self._step.descend(errors.square().mean()).metrics)


def as_it_is(
    graph: GraphModule, example: Sequence[torch.Tensor], options: Mapping[str, Any]
) -> Function:
    """In place of torch's compiler: the program is the graph, which is run operation by operation."""
    del example, options
    return graph
