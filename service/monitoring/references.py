"""Collects the rows of a version line's first decisions, and makes of them, once, what windows are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
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
MAKING: Final = "monitoring: reference"
"""The name of the task that makes one."""
_NUMBERS: Final = "<f4"
_KEEP_MS: Final = 30 * 86_400_000
"""A policy that gets no traffic for so long collects anew."""

_Make = Callable[[Sequence[bytes], PolicyConfig, int], StateReference | None]


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
        self._making: asyncio.Task[StateReference | None] | None = None

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
        """Puts observations aside until there are enough of them; see `take_made`."""
        if self.references.states is not None or self._making is not None:
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
            self._begin(_states_from, found, config, self.lineage)

    async def _use_training(self, config: PolicyConfig) -> None:
        wanted = config.monitoring.reference
        first = await self._replay.after(self._keys, START, 1)
        if first.appended - first.trimmed < wanted:
            return
        block = await self._replay.after(self._keys, START, wanted)
        self._begin(_states_from_training, block.data, config, self.lineage)

    def _begin(self, make: _Make, found: Sequence[bytes], config: PolicyConfig, seed: int) -> None:
        """In a thread, and nobody waits for it: seconds in which no other policy could trip."""
        made = asyncio.to_thread(make, found, config, seed)
        self._making = asyncio.create_task(made, name=MAKING)

    async def take_made(self, config: PolicyConfig) -> None:
        """Keeps the reference of states as soon as it is made; begins anew where the rows were not enough."""
        if self._making is None or not self._making.done():
            return
        states, self._making = self._making.result(), None
        if states is not None:
            await self._repository.freeze(self._keys, self.lineage, "states", packed(states))
            self.references.states = states
            log.info(
                "state_reference_made", policy=self._keys.policy, rows=states.sums.moments.count
            )
        elif self._is_training_usable and _is_of_training(config):
            self._is_training_usable = False
            log.warning(
                "training_not_comparable",
                policy=self._keys.policy,
                action="compared with the first decisions",
            )
        else:
            await self._repository.forget_rows(self._keys, self.lineage)


def _is_of_training(config: PolicyConfig) -> bool:
    has_no_history = isinstance(config.agent.history, NoHistoryConfig)
    return config.monitoring.reference_of == "training" and has_no_history


def _states_from(found: Sequence[bytes], config: PolicyConfig, seed: int) -> StateReference | None:
    """None where there are not enough rows of one length."""
    rows, window = _table(found), config.monitoring.window
    if len(rows) < 2 * window:
        return None
    return StateReference.of(rows, window, np.random.default_rng(seed))


def _states_from_training(
    data: Sequence[bytes], config: PolicyConfig, seed: int
) -> StateReference | None:
    return _states_from(_states_of(data, config.transition_schema), config, seed)


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
