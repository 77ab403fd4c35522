"""Numbers that networks learn about each id."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from agent_core.action_representation.positions import MOST_ROWS, IdPositions
from agent_core.interfaces import ActionRepresentationConfig, Capability
from agent_core.types import Embedding


class EmbeddingConfig(ActionRepresentationConfig):
    """The position of the id in a table of `rows` times `dim` learned numbers, then the features.

    Each of `ids` has a row of its own. Any other id, however many there are, shares the remaining rows
    by its hash (Weinberger et al. 2009); so an id that is new to the policy file can be learned about
    without changing it.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradient"})
    kind: Literal["embedding"] = "embedding"
    rows: int = Field(default=1024, ge=1, le=MOST_ROWS)
    dim: int = Field(default=16, ge=1, le=1024)
    ids: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _has_a_row_for_other_ids(self) -> Self:
        if len(self.ids) >= self.rows:
            raise ValueError(
                f"{len(self.ids)} ids leave none of {self.rows} rows for ids that are not listed; "
                "raise `rows`"
            )
        return self

    def build(self, feature_dim: int) -> IdPositions:
        return IdPositions(self.ids, self.rows, feature_dim)

    def embedding(self) -> Embedding:
        return Embedding(self.rows, self.dim)
