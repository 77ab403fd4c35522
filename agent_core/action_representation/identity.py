"""The features, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agent_core.interfaces import ActionRepresentationConfig
from agent_core.types import Floats


class IdentityConfig(ActionRepresentationConfig):
    """The features alone, so that an action never seen before is judged by what it is like."""

    kind: Literal["identity"] = "identity"

    def build(self, feature_dim: int) -> Identity:
        return Identity(feature_dim)


class Identity:
    """Returns the features it is given."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def encode(self, ids: Sequence[str], features: Floats) -> Floats:
        return features
