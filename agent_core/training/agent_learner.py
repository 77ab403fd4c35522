"""Feeds transitions to a learner, each once and in order, and makes the updates that are due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from agent_core.functional.flat_state import below, under
from agent_core.interfaces import (
    OnPolicyLearner,
    PolicyLearner,
    PolicyLearnerConfig,
    ReplayBuffer,
    ReplayConfig,
    RolloutBuffer,
    SafetyConfig,
    ServedPolicy,
    TrainingState,
)
from agent_core.training.collate import collate
from agent_core.training.fit import check_fits
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ProblemSpec, Transition


class AgentLearner:
    """The learn half of an agent.

        learner = AgentLearner(learner_config, replay_config, schedule, spec)
        for block in stream:
            metrics = learner.learn(block)
        snapshot = PolicySnapshot.of(learner.policy, ...)

    Everything it becomes is a function of the configs and of the sequence of transitions, not of how
    the sequence was cut into blocks nor of when it came.

    `device`: where the learner's tensors live; the host if not given.
    `experience`: transitions learned from. `updates`: gradient updates made, on schedule or asked for.
    `skipped_transitions`, `skipped_updates`: refused because a number was not finite.
    """

    def __init__(
        self,
        learner_config: PolicyLearnerConfig,
        replay_config: ReplayConfig | None,
        schedule: ScheduleConfig,
        spec: ProblemSpec,
        device: torch.device | None = None,
        safety_config: SafetyConfig | None = None,
    ) -> None:
        self._spec = spec
        self._schedule = schedule
        self._device = torch.device("cpu") if device is None else device
        self._refresh_period = learner_config.refresh_period
        self._memory = None if replay_config is None else replay_config.build(spec, self._device)
        capabilities = learner_config.capabilities
        # The configuration check has seen to it that the memory is of the kind that the learner reads.
        self._replay = cast(
            "ReplayBuffer | None", self._memory if "replay" in capabilities else None
        )
        self._rollouts = cast(
            "RolloutBuffer | None", self._memory if "on_policy" in capabilities else None
        )
        self._observes = "observes" in capabilities
        self._learner = _fresh_learner(
            learner_config, safety_config, spec, schedule.seed, self._device
        )
        self._generator = torch.Generator().manual_seed(schedule.seed)
        self.experience = 0
        self.updates = 0
        self.skipped_transitions = 0
        self.skipped_updates = 0
        self._scheduled = 0

    @property
    def policy(self) -> ServedPolicy:
        """The policy in training. Changes in place: serve a snapshot of it."""
        return self._learner.policy

    def learn(self, transitions: Sequence[Transition]) -> dict[str, float]:
        """Takes `transitions` in; returns the mean of each metric over the updates made.

        Raises:
            TransitionError: one does not fit; those before it were learned from.
        """
        metrics: list[dict[str, float]] = []
        for transition in transitions:
            check_fits(transition, self._spec)
            if not _is_finite(transition):
                self.skipped_transitions += 1
                continue
            self._take_in(transition)
            metrics += self._due_updates()
        return _means(metrics)

    def extra_updates(self, count: int) -> dict[str, float]:
        """Makes `count` updates besides the schedule; none if nothing can be replayed.

        On-policy learners never learn twice from the same episode, so they make none either.
        """
        if self._replay is None or not len(self._replay):
            return {}
        return _means([self._update(self._replay) for _ in range(count)])

    def training_state(self) -> TrainingState:
        """All that the next update depends on, the policy's weights included."""
        own = {"generator": self._generator.get_state(), "counters": self._counters()}
        own |= under("policy", self.policy.state_dict())
        own |= under("learner", self._learner.training_state())
        return own if self._memory is None else own | under("replay", self._memory.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        """Continues bit-exactly from `training_state()`, in this or another process."""
        self.policy.load_state_dict(below("policy", state))
        self._learner.load_training_state(below("learner", state))
        self._generator.set_state(state["generator"])
        counters = state["counters"].tolist()
        self.experience, self.updates, self._scheduled = counters[:3]
        self.skipped_transitions, self.skipped_updates = counters[3:]
        if self._memory is not None:
            self._memory.load_training_state(below("replay", state))
        if self._replay is not None:
            # Nothing is owed between two transitions. Another schedule counts from here: it asks for
            # no updates on account of what was learned under the one before.
            self._scheduled = self._schedule.updates_due(self.experience)

    def _take_in(self, transition: Transition) -> None:
        # One by one, even in a block: the last bits of a product depend on how many rows it has.
        if self._observes:
            self._learner.observe(collate([transition], self._spec, self._device))
        if self._memory is not None:
            self._memory.append(transition)
        self.experience += 1

    def _due_updates(self) -> list[dict[str, float]]:
        if self._rollouts is not None:
            return self._rollout_updates(self._rollouts)
        if self._replay is None:
            return []
        owed = self._schedule.updates_due(self.experience) - self._scheduled
        self._scheduled += owed
        return [self._update(self._replay) for _ in range(owed)]

    def _rollout_updates(self, rollouts: RolloutBuffer) -> list[dict[str, float]]:
        rollout = rollouts.take()
        if rollout is None:
            return []
        learner = cast("OnPolicyLearner", self._learner)
        made = [update.metrics for update in learner.learn_rollout(rollout, self._generator)]
        self.updates += len(made)
        self.skipped_updates += sum(int(one.get("skipped_non_finite", 0)) for one in made)
        return made

    def _update(self, replay: ReplayBuffer) -> dict[str, float]:
        batch = replay.sample(self._schedule.batch_size, self._generator)
        metrics, errors = self._learner.update(batch)
        if errors is not None:
            replay.feed_back(batch, errors)
        self.updates += 1
        self.skipped_updates += int(metrics.get("skipped_non_finite", 0))
        if self._refresh_period and self.updates % self._refresh_period == 0:
            self._learner.refresh(replay.batches(_REFRESH_ROWS))
        return metrics

    def _counters(self) -> torch.Tensor:
        done = (self.experience, self.updates, self._scheduled)
        return torch.tensor([*done, self.skipped_transitions, self.skipped_updates])


_REFRESH_ROWS = 4096
_LARGEST = float(np.finfo(np.float32).max)


def _fresh_learner(
    config: PolicyLearnerConfig,
    safety: SafetyConfig | None,
    spec: ProblemSpec,
    seed: int,
    device: torch.device,
) -> PolicyLearner:
    # Only the CPU generator is forked: weights are drawn on the host, so they do not depend on `device`.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = config.build_learner(config.build_policy(spec).to(device), spec)
        return learner if safety is None else safety.constrain(learner, spec)


def _is_finite(transition: Transition) -> bool:
    tables = [transition.state, transition.actions.features]
    if transition.next_state is not None:
        tables.append(transition.next_state)
    if transition.next_actions is not None:
        tables.append(transition.next_actions.features)
    numbers = (transition.reward, transition.cost, transition.propensity)
    # A reward of 1e39 is a number, but not one in float32. A comparison with NaN is False.
    small = all(abs(number) <= _LARGEST for number in numbers)
    return small and all(bool(np.isfinite(table).all()) for table in tables)


def _means(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over the updates that reported it."""
    seen: defaultdict[str, list[float]] = defaultdict(list)
    for update in metrics:
        for name, value in update.items():
            seen[name].append(value)
    return {name: sum(values) / len(values) for name, values in seen.items()}
