"""One policy in training.

    training = PolicyTraining.resume(config, device, directory)
    block = await replay.after(keys, training.position, limit)
    training.take(block, quarantined)
    training.save(directory, version, made_at)              what a crash continues from
    training.snapshot(version, made_at)                     what servers serve

What it becomes is a function of the configuration and of the stream up to its position (and of the
updates that jobs asked for, and of the versions that an operator has quarantined): neither the sizes of
blocks, nor publishing, nor checkpoints, nor crashes change a bit of the weights.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from agent_core.errors import SnapshotError
from agent_core.interfaces import ServedPolicy
from agent_core.learner import learner_of
from agent_core.snapshot import DataRange, PolicySnapshot, TrainingCheckpoint
from agent_core.types import TransitionBlock
from service.learning.lead import Lead, LeadingLearner
from service.policies.config import PolicyConfig
from service.policies.logic import STRUCTURE
from service.policies.repository import VersionDescription
from service.replay.codec import Decoded, decode_block
from service.replay.repository import START, Block


class Progress(msgspec.Struct):
    """Where the training stands in the stream; part of every checkpoint.

    `offset`: entries of the stream behind `position`, the missed ones included. `first`, `last`: ids of
    the entries learned from. `finished_job`: the last job whose updates are in the weights.
    """

    position: str = START
    offset: int = 0
    first: str = ""
    last: str = ""
    missed: int = 0
    skipped: dict[str, int] = {}
    finished_job: str = ""


class PolicyTraining:
    """Learns from blocks of the replay stream, each entry once and in order. `lead`: of the other processes that
    train with this one, if there are any."""

    def __init__(
        self, config: PolicyConfig, device: torch.device, lead: Lead | None = None
    ) -> None:
        self._config = config
        self._device = device
        self._lead = lead
        self._learner = (
            learner_of(config.agent, device)
            if lead is None
            else LeadingLearner(config.agent, device, lead)
        )
        self._metrics = _Means()
        self.progress = Progress()

    # -- learning -----------------------------------------------------------------------------

    @property
    def policy(self) -> ServedPolicy:
        """The policy in training; changes in place."""
        return self._learner.policy

    @property
    def experience(self) -> int:
        """Transitions learned from."""
        return self._learner.experience

    @property
    def updates(self) -> int:
        """Gradient updates made."""
        return self._learner.updates

    def take(self, block: Block, quarantined: frozenset[int]) -> int:
        """Learns from the block that follows the position; returns how many entries were missed before it."""
        missed = self._note_gap(block)
        found, here = examine(block.data, self._config, quarantined), self.progress
        for reason in found.refused.values():
            here.skipped[reason] = here.skipped.get(reason, 0) + 1
        if len(found.good):
            here.first = here.first or block.ids[found.good[0]]
            here.last = block.ids[found.good[-1]]
        self._learn(found.transitions)
        if block.ids:
            here.position = block.ids[-1]
            here.offset += len(block.ids)
        return missed

    def extra_updates(self, count: int) -> None:
        """Makes `count` updates on the replay, besides those that are due."""
        before = self.updates
        self._metrics.add(self._learner.extra_updates(count), self.updates - before)

    def _note_gap(self, block: Block) -> int:
        here = self.progress
        if here.position == START:
            # Whoever begins now has missed nothing of what is gone.
            here.offset = block.trimmed
        # After a failover Redis may know of fewer entries than were read.
        here.offset = min(here.offset, block.appended)
        missed = max(0, block.trimmed - here.offset)
        here.offset += missed
        here.missed += missed
        return missed

    def _learn(self, transitions: TransitionBlock) -> None:
        updates = self.updates
        means = self._learner.learn(transitions)
        self._metrics.add(means, self.updates - updates)

    # -- publishing ---------------------------------------------------------------------------

    def is_finite(self) -> bool:
        """Whether every weight is a number; otherwise nothing of this may be published or kept."""
        weights = self.policy.state_dict().values()
        return all(bool(w.isfinite().all()) for w in weights if w.is_floating_point())

    def snapshot(self, version: int, parent: int, made_at: str) -> PolicySnapshot:
        """The weights as they are, as version `version`."""
        here = self.progress
        return PolicySnapshot.of(
            self.policy,
            policy_name=self._config.policy,
            model_version=version,
            config=self._config.agent,
            created_at=made_at,
            parent=parent,
            experience=self.experience,
            updates=self.updates,
            data_range=DataRange(first=here.first or None, last=here.last or None),
        )

    def description(self, version: int, parent: int, made_at: str) -> VersionDescription:
        """What the registry says about version `version`; metrics are means since the version before."""
        return VersionDescription(
            version=version,
            parent=parent,
            made_at=made_at,
            config_hash=self._config.config_hash,
            feature_schema=self._config.agent.feature_schema,
            experience=self.experience,
            updates=self.updates,
            first=self.progress.first,
            last=self.progress.last,
            metrics=self._metrics.take(),
        )

    # -- checkpoints --------------------------------------------------------------------------

    def save(self, directory: Path, version: int, made_at: str) -> None:
        """Writes a checkpoint; `version` was published last."""
        progress = torch.frombuffer(bytearray(_encode(self.progress)), dtype=torch.uint8)
        TrainingCheckpoint(
            policy=self._config.policy,
            config_hash=self._config.config_hash,
            feature_schema=self._config.agent.feature_schema,
            position=self.progress.position,
            model_version=version,
            created_at=made_at,
            state={**self._learner.training_state(), _PROGRESS: progress},
        ).save(directory)

    @classmethod
    def resume(
        cls,
        config: PolicyConfig,
        device: torch.device,
        directory: Path,
        lead: Lead | None = None,
    ) -> PolicyTraining:
        """Continues from the newest checkpoint that is whole; begins if there never was one.

        Raises:
            SnapshotError: there are checkpoints and none can be used.
            ConfigError: several processes cannot train it.
        """
        training = cls(config, device, lead)
        checkpoint = TrainingCheckpoint.load_latest(directory)
        if checkpoint is not None:
            training._restore(checkpoint)
        return training

    def reconfigured(self, config: PolicyConfig) -> PolicyTraining:
        """The same training under a configuration of the same structure.

        Raises:
            ConfigError: several processes cannot train it so.
        """
        training = PolicyTraining(config, self._device, self._lead)
        training._learner.load_training_state(self._learner.training_state())
        training.progress = self.progress
        return training

    def _restore(self, checkpoint: TrainingCheckpoint) -> None:
        state = dict(checkpoint.state)
        try:
            body = state.pop(_PROGRESS).numpy().tobytes()
            self.progress = msgspec.json.decode(body, type=Progress)
            self._learner.load_training_state(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise SnapshotError("schema", f"the checkpoint does not fit: {error}") from error


_PROGRESS = "service.progress"
_encode = msgspec.json.Encoder().encode


def checkpoint_folder(root: Path, config: PolicyConfig, lineage: int) -> Path:
    """Where checkpoints of one model lie: another lineage or structure never meets them."""
    document = config.agent.model_dump(mode="json", include=set(STRUCTURE))
    structure = hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()
    return root / config.policy / f"{lineage}-{structure[:12]}"


# -- what may be learned from ----------------------------------------------------------------------


def examine(data: Sequence[bytes], config: PolicyConfig, quarantined: frozenset[int]) -> Decoded:
    """The transitions in `data` that may be learned from, and why others must not be."""
    agent = config.agent
    found = decode_block(data, agent.spec, config.transition_schema)
    versions = found.transitions.facts["model_version"]
    return found.keep(~np.isin(versions, list(quarantined)), "quarantined")


class _Means:
    """Weighted means of named numbers since the last `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, int] = {}

    def add(self, means: dict[str, float], weight: int) -> None:
        for name, mean in means.items():
            if not math.isfinite(mean):
                continue  # of an update that was refused; and JSON has no NaN
            self._sums[name] = self._sums.get(name, 0.0) + mean * weight
            self._weights[name] = self._weights.get(name, 0) + weight

    def take(self) -> dict[str, float]:
        means = {name: self._sums[name] / max(1, self._weights[name]) for name in self._sums}
        self._sums, self._weights = {}, {}
        return means
