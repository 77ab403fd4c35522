"""The position of each known id in binary: few slots for many ids."""

from __future__ import annotations

from typing import Literal

import numpy as np

from agent_core.action_representation.codes import IdCodes, Ids
from agent_core.interfaces import ActionRepresentationConfig
from agent_core.types import Floats


class BinaryConfig(ActionRepresentationConfig):
    """The 1-based position of the id, lowest bit first, then the features. Any other id is all zeros."""

    kind: Literal["binary"] = "binary"
    ids: Ids

    def build(self, feature_dim: int) -> IdCodes:
        return IdCodes(self.ids, _binary_codes(len(self.ids)), feature_dim)


def _binary_codes(count: int) -> Floats:
    """`[count + 1, bits]`: row i holds the bits of i + 1, the last row zeros."""
    positions = np.append(np.arange(1, count + 1), 0)
    bits = np.arange(count.bit_length())
    return (positions[:, None] >> bits & 1).astype(np.float32)
