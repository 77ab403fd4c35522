"""No restriction."""

from __future__ import annotations

from typing import Literal

from agent_core.interfaces import SafetyConfig


class NoSafetyConfig(SafetyConfig):
    """Every available action may be taken."""

    kind: Literal["none"] = "none"
