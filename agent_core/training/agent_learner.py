"""Feeds transitions to a learner, each once and in order, and makes the updates that are due."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import torch

from agent_core.functional.blocks import part, those
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
    Update,
)
from agent_core.policy_learners.gradient import SKIPPED
from agent_core.training.collate import block_of, collate
from agent_core.training.engine.engine import UpdateEngine
from agent_core.training.fit import are_finite, check_fits, check_widths
from agent_core.training.parallel import Ranks
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ProblemSpec, TransitionBlock, Transitions


class AgentLearner:
    """The learn half of an agent.

        learner = AgentLearner(learner_config, replay_config, schedule, spec)
        for block in stream:
            metrics = learner.learn(block)
        snapshot = PolicySnapshot.of(learner.policy, ...)

    Everything it becomes is a function of the configs and of the sequence of transitions, not of how
    the sequence was cut into blocks nor of when it came. After `tune_after_updates` updates that holds up to
    rounding: a compiler adds in another order, and when it is ready is a matter of time.

    `device`: where the learner's tensors live; the host if not given. `ranks`: the processes that train it
    together, each given the same transitions.
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
        ranks: Ranks | None = None,
    ) -> None:
        self._spec = spec
        self._schedule = schedule
        self._ranks = ranks
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
        if ranks is not None:
            ranks.join(self._learner, schedule.batch_size)
        self._engine = UpdateEngine(schedule.tune_after_updates, schedule.precision, ranks)
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

    def learn(self, transitions: Transitions) -> dict[str, float]:
        """Takes `transitions` in; returns the mean of each metric over the updates made.

        Whoever made a block has seen to it that all of it fits. A transition with a number that is not finite
        is counted in `skipped_transitions` and left out.

        Raises:
            TransitionError: one of a sequence does not fit, or a block was made for another problem; nothing was
                learned from any.
        """
        if isinstance(transitions, TransitionBlock):
            check_widths(transitions, self._spec)
        else:
            for one in transitions:
                check_fits(one, self._spec)
        block = self._finite(block_of(transitions, self._spec))
        made: list[Update] = []
        at = 0
        while at < len(block):
            stop = at + self._until_due(len(block) - at)
            self._take_in(part(block, at, stop))
            made += self._due_updates()
            at = stop
        return self._report(made)

    def extra_updates(self, count: int) -> dict[str, float]:
        """Makes `count` updates besides the schedule; none if nothing can be replayed.

        On-policy learners never learn twice from the same episode, so they make none either.
        """
        if self._replay is None or not len(self._replay):
            return {}
        return self._report(self._replay_updates(self._replay, count))

    def training_state(self) -> TrainingState:
        """All that the next update depends on, the policy's weights included."""
        own = {"generator": self._generator.get_state(), "counters": self._counters()}
        own |= under("policy", self.policy.state_dict())
        own |= under("learner", self._learner.training_state())
        return own if self._memory is None else own | under("replay", self._memory.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        """Continues bit-exactly from `training_state()`, in this or another process."""
        self._engine.forget()
        self.policy.load_state_dict(below("policy", state))
        self._learner.load_training_state(below("learner", state))
        self._generator.set_state(state["generator"])
        counters = state["counters"].tolist()
        self.experience, self.updates, self._scheduled = counters[:3]
        self.skipped_transitions, self.skipped_updates = counters[3:]
        if self._memory is not None:
            self._memory.load_training_state(below("replay", state))
        if self._replay is not None:
            # Nothing is due between two transitions. Another schedule counts from here: it asks for
            # no updates on account of what was learned under the one before.
            self._scheduled = self._schedule.updates_due(self.experience)

    def _finite(self, block: TransitionBlock) -> TransitionBlock:
        """What is left of a block when those with a number that is not finite are counted and left out."""
        finite = are_finite(block)
        self.skipped_transitions += int((~finite).sum())
        return those(block, finite)

    def _until_due(self, left: int) -> int:
        """How many of the next `left` transitions, at least one, come before updates may be due."""
        if self._rollouts is not None:
            return 1
        if self._replay is None:
            return left
        due = self._schedule.updates_due
        counts = range(self.experience + 1, self.experience + left + 1)
        return min(left, 1 + bisect_right(counts, self._scheduled, key=due))

    def _take_in(self, block: TransitionBlock) -> None:
        # One by one, even in a block: the last bits of a product depend on how many rows it has.
        for at in range(len(block) if self._observes else 0):
            self._learner.observe(collate(part(block, at, at + 1), self._spec, self._device))
        if self._memory is not None:
            self._memory.extend(block)
        self.experience += len(block)

    def _due_updates(self) -> list[Update]:
        if self._rollouts is not None:
            return self._rollout_updates(self._rollouts)
        if self._replay is None:
            return []
        owed = self._schedule.updates_due(self.experience) - self._scheduled
        self._scheduled += owed
        return self._replay_updates(self._replay, owed)

    def _rollout_updates(self, rollouts: RolloutBuffer) -> list[Update]:
        rollout = rollouts.take()
        if rollout is None:
            return []
        learner = cast("OnPolicyLearner", self._learner)
        made = learner.learn_rollout(rollout, self._generator, self._engine.run)
        self.updates += len(made)
        return made

    def _replay_updates(self, replay: ReplayBuffer, count: int) -> list[Update]:
        made: list[Update] = []
        while left := count - len(made):
            made += self._updates_at_once(replay, min(left, self._schedule.updates_at_once))
        return made

    def _updates_at_once(self, replay: ReplayBuffer, count: int) -> list[Update]:
        batches = replay.sample(count * self._schedule.batch_size, self._generator)
        made = self._engine.run(self._learner.update, batches, count)
        errors = [update.errors for update in made if update.errors is not None]
        if errors:
            replay.feed_back(batches, self._of_all_ranks(errors))
        before, self.updates = self.updates, self.updates + count
        period = self._refresh_period
        if period and self.updates // period > before // period:
            self._learner.refresh(replay.batches(_REFRESH_ROWS))
        return made

    def _of_all_ranks(self, errors: Sequence[torch.Tensor]) -> torch.Tensor:
        if self._ranks is not None:
            errors = [self._ranks.gathered(one) for one in errors]
        return torch.cat([*errors])

    def _report(self, made: Sequence[Update]) -> dict[str, float]:
        """The mean of each metric over the updates that reported it; of a refused one only that it was."""
        seen: defaultdict[str, list[float]] = defaultdict(list)
        for metrics in _numbers(made):
            refused = metrics.get(SKIPPED, 0.0) > 0
            self.skipped_updates += refused
            for name, value in metrics.items():
                if name == SKIPPED or not refused:
                    seen[name].append(value)
        return {name: sum(values) / len(values) for name, values in seen.items()}

    def _counters(self) -> torch.Tensor:
        done = (self.experience, self.updates, self._scheduled)
        return torch.tensor([*done, self.skipped_transitions, self.skipped_updates])


_REFRESH_ROWS = 4096


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


def _numbers(made: Sequence[Update]) -> list[dict[str, float]]:
    """The metrics of each update, asked for all at once."""
    tensors = [value.reshape(()) for update in made for value in update.metrics.values()]
    numbers = iter(torch.stack(tensors).tolist() if tensors else ())
    return [{name: next(numbers) for name in update.metrics} for update in made]
