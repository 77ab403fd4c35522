"""Collects the rows of a version line's first decisions, and makes of them, once, what windows are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import structlog

from agent_core.history.none import NoHistoryConfig
from agent_core.types import Doubles, Floats
from service.monitoring.packing import arrays, packed
from service.monitoring.repository import MonitoringRepository, outcomes_name
from service.monitoring.rows import Sample
from service.monitoring.signals.states import StateReference
from service.monitoring.watching import References, Watching
from service.monitoring.windows import PackedWindow
from service.policies.config import PolicyConfig
from service.replay.codec import CodecError, decode_transition
from service.replay.repository import START, ReplayRepository
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)
_NUMBERS: Final = "<f4"
_KEEP_MS: Final = 30 * 86_400_000
"""A policy that gets no traffic for so long collects anew."""


class Collector:
    """The reference of one policy's version line. `references`: as far as it is known."""

    def __init__(
        self,
        repository: MonitoringRepository,
        replay: ReplayRepository,
        keys: PolicyKeys,
        lineage: int,
    ) -> None:
        self._repository = repository
        self._replay = replay
        self._keys = keys
        self.lineage = lineage
        self.references = References()
        self._is_training_usable = True

    async def load(self, watching: Watching) -> None:
        """Reads what is frozen already; what another program wrote is forgotten, and collected again."""
        try:
            stored = await self._repository.reference(self._keys, self.lineage, watching.parts)
            outcomes = watching.unpack(stored.outcomes) if stored.outcomes else None
            decisions = watching.unpack(stored.decisions) if stored.decisions else None
            states = StateReference.from_arrays(arrays(stored.states)) if stored.states else None
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            log.warning("reference_unusable", policy=self._keys.policy, why=str(error))
            await self._repository.forget_reference(self._keys, self.lineage)
            return
        self.references = References(outcomes, decisions, states)

    async def freeze(self, before: References, parts: str) -> None:
        """Keeps what was completed since `before`. `parts`: what rewards are made of."""
        now = self.references
        for name, was, part in (
            (outcomes_name(parts), before.outcomes, now.outcomes),
            ("decisions", before.decisions, now.decisions),
        ):
            if was is None and part is not None:
                window = PackedWindow.of(part)
                await self._repository.freeze(self._keys, self.lineage, name, window)

    async def add_states(
        self,
        config: PolicyConfig,
        samples: Sequence[Sample],
        observations: Sequence[Floats | None],
    ) -> None:
        """Puts observations aside until there are enough of them."""
        if self.references.states is not None:
            return
        if self._is_training_usable and _is_of_training(config):
            await self._use_training(config)
            return
        rows = {
            sample.decision_id: observation.astype(_NUMBERS).tobytes()
            for sample, observation in zip(samples, observations, strict=True)
            if observation is not None
        }
        count = await self._repository.keep_rows(self._keys, self.lineage, rows, _KEEP_MS)
        if count >= config.monitoring.reference:
            found = await self._repository.rows(self._keys, self.lineage)
            if not await self._make_states(config, found):
                await self._repository.forget_rows(self._keys, self.lineage)

    async def _use_training(self, config: PolicyConfig) -> None:
        wanted = config.monitoring.reference
        first = await self._replay.after(self._keys, START, 1)
        if first.appended - first.trimmed < wanted:
            return
        block = await self._replay.after(self._keys, START, wanted)
        states = await asyncio.to_thread(_states_of, block.data, config.transition_schema)
        if not await self._make_states(config, states):
            self._is_training_usable = False
            log.warning(
                "training_not_comparable",
                policy=self._keys.policy,
                states=len(states),
                action="compared with the first decisions",
            )

    async def _make_states(self, config: PolicyConfig, found: Sequence[bytes]) -> bool:
        """Whether they were enough, and of one length."""
        rows = _table(found)
        if len(rows) < 2 * config.monitoring.window:
            return False
        # In a thread: it draws thousands of windows from the rows, which takes a second or more.
        random = np.random.default_rng(self.lineage)
        window = config.monitoring.window
        states = await asyncio.to_thread(StateReference.of, rows, window, random)
        await self._repository.freeze(self._keys, self.lineage, "states", packed(states))
        self.references.states = states
        log.info("state_reference_made", policy=self._keys.policy, rows=len(rows))
        return True


def _is_of_training(config: PolicyConfig) -> bool:
    has_no_history = isinstance(config.agent.history, NoHistoryConfig)
    return config.monitoring.reference_of == "training" and has_no_history


def _states_of(data: Sequence[bytes], schema: str) -> list[bytes]:
    """The states of transitions that the version line may learn from."""
    found = []
    for entry in data:
        try:
            stored = decode_transition(entry)
        except CodecError:
            continue  # the learner counts those
        if stored.feature_schema == schema:
            found.append(stored.transition.state.astype(_NUMBERS).tobytes())
    return found


def _table(rows: Sequence[bytes]) -> Doubles:
    """`[T, O]`; those of another length than the last are left out."""
    fitting = [row for row in rows if len(row) == len(rows[-1])]
    if not fitting:
        return np.zeros((0, 0))
    return np.stack([np.frombuffer(row, _NUMBERS) for row in fitting]).astype(np.float64)
