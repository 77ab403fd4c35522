"""Samples as the vectors that the policy saw. Histories are left out: they change with the policy itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_core.types import Floats
from service.errors import ServiceError
from service.joining.frames import Frames
from service.monitoring.rows import Sample
from service.repository import PolicyKeys

_WIDEST: Final = 1_024
"""Numbers of an observation beyond which its states are not compared: the reference would take many MB."""


async def encoded(
    frames: Frames, keys: PolicyKeys, samples: Sequence[Sample]
) -> list[Floats | None]:
    """The observation `[O]` of each sample; None where its configuration or catalog is gone, or does not take it.

    Raises:
        RedisError: a frame could not be loaded.
    """
    return [await _encoded(frames, keys, one) for one in samples]


async def _encoded(frames: Frames, keys: PolicyKeys, sample: Sample) -> Floats | None:
    frame = await frames.at(keys, sample.config_hash, sample.catalog)
    if frame is None:
        return None
    try:
        observation = frame.encoding.observation(sample.observation)
    except ServiceError:
        return None  # it was answered, so it fitted once: the frame is not the one of then
    return observation if 0 < len(observation) <= _WIDEST else None
