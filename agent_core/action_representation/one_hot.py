"""One slot for each known id."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from agent_core.action_representation.codes import IdCodes, Ids
from agent_core.interfaces import ActionRepresentationConfig


class OneHotConfig(ActionRepresentationConfig):
    """1 in the slot of the id, then the features. The last slot stands for every id not in `ids`."""

    kind: Literal["one_hot"] = "one_hot"
    # Beyond it the table of codes takes more than 16 MB; `binary` has room for any number of ids.
    ids: Annotated[Ids, Field(max_length=2048)]

    def build(self, feature_dim: int) -> IdCodes:
        return IdCodes(self.ids, np.eye(len(self.ids) + 1, dtype=np.float32), feature_dim)
