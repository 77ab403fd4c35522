"""What every section of a policy file shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Immutable; unknown fields and numbers that are not finite are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
