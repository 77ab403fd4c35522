"""No restriction."""

from __future__ import annotations

from typing import Literal

import numpy as np

from agent_core.interfaces import SafetyConfig
from agent_core.types import ActionSet, Floats, Mask


class NoSafetyConfig(SafetyConfig):
    """Every available action may be taken."""

    kind: Literal["none"] = "none"

    def build(self) -> NoSafety:
        return NoSafety()


class NoSafety:
    """Allows everything."""

    def allowed(self, state: Floats, actions: ActionSet) -> Mask:
        return np.ones(len(actions), dtype=np.bool_)
