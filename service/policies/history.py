"""What a policy remembers of an episode: the carry, as the bytes that records and Redis keep.

    state = history.state(carry, seen)          the carry of this decision, b"" before anything was seen
    carry = history.after(carry, seen, action)  the carry of the next one

The carry is data and nobody's state: serving, joining and replay give the same bytes to the same functions.
"""

from __future__ import annotations

import numpy as np

from agent_core.interfaces import HistoryModule
from agent_core.types import Floats


class History:
    """The history module of one policy, on carries in the form of little-endian float32 bytes."""

    def __init__(self, module: HistoryModule) -> None:
        self._module = module
        self._beginning = module.initial_carry()

    def state(self, carry: bytes, seen: Floats) -> Floats:
        """`[S]`: what the policy sees of the observation `seen` `[O]` after what `carry` holds.

        Raises:
            ValueError: the carry belongs to another history.
        """
        return self._module.state(self._numbers(carry), seen)

    def after(self, carry: bytes, seen: Floats, action: Floats) -> bytes:
        """The carry once `action` `[D]` was taken on the observation `seen` `[O]`.

        Raises:
            ValueError: the carry belongs to another history.
        """
        advanced = self._module.advance(self._numbers(carry), seen, action)
        return advanced.astype("<f4", copy=False).tobytes()

    def _numbers(self, carry: bytes) -> Floats:
        if not carry:
            return self._beginning
        if len(carry) != 4 * len(self._beginning):
            detail = f"{len(carry)} bytes, not {4 * len(self._beginning)}"
            raise ValueError(f"the carry has {detail}; it belongs to another history")
        return np.frombuffer(carry, "<f4").astype(np.float32, copy=False)
