"""The one object that turns observations, and the features of actions, into float32 vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

from agent_core.errors import FeatureError
from agent_core.features.named import NamedEncoder, NamedFeaturesConfig
from agent_core.features.numbers import AS_DECLARED, Numbers, read_numbers
from agent_core.features.plain import BoxConfig, NoFeaturesConfig, VectorFeaturesConfig
from agent_core.types import Floats

FeaturesConfig: TypeAlias = (
    VectorFeaturesConfig | NamedFeaturesConfig | NoFeaturesConfig | BoxConfig
)


class Featurizer:
    """Encodes what its config declares, and refuses everything else with the place and a code.

        featurizer = Featurizer(VectorFeaturesConfig(dim=3))
        state = featurizer.encode_vector([0.5, 1.0, -2.0])

    Immutable, and the same in every process: serving, joining and replay share it.
    """

    def __init__(self, config: FeaturesConfig) -> None:
        self.dim = config.dim
        self._takes_names = isinstance(config, NamedFeaturesConfig)
        self._takes_vector = isinstance(config, (VectorFeaturesConfig, BoxConfig))
        self._names = NamedEncoder(config.fields if isinstance(config, NamedFeaturesConfig) else {})

    def encode_vector(self, values: Numbers) -> Floats:
        """`[S]` from S numbers, or from little-endian float32 bytes (viewed, not copied).

        Raises:
            FeatureError: `wrong_kind` (names are expected), `wrong_length`, `wrong_type`,
                `not_finite`, `too_large`.
        """
        if self._takes_names:
            raise _names_expected()
        return read_numbers(values, self.dim)

    def encode_matrix(
        self, values: bytes | memoryview | Sequence[Sequence[float]], rows: int
    ) -> Floats:
        """`[A, F]` from A = `rows` vectors, or from their little-endian float32 bytes, row by row.

        Raises:
            FeatureError: as `encode_vector`; "/3/5" is the sixth number of the fourth row.
        """
        if self._takes_names:
            raise _names_expected()
        numbers = values if isinstance(values, (bytes, memoryview)) else self._joined(values, rows)
        return read_numbers(numbers, rows * self.dim, self._cell).reshape(rows, self.dim)

    def encode_named(self, values: Mapping[str, Any]) -> Floats:
        """`[S]` from a nested mapping of named features; null means missing.

        Raises:
            FeatureError: `wrong_kind` (a vector is expected), `unknown_feature`, `missing_feature`,
                `wrong_type`, `not_finite`, `too_large`.
        """
        if self._takes_vector:
            detail = f"this policy takes a vector of {self.dim} numbers; send `vector`"
            raise FeatureError("", "wrong_kind", detail)
        return self._names.encode(values)

    def _joined(self, values: Sequence[Sequence[float]], rows: int) -> list[float]:
        if len(values) != rows:
            detail = f"found {len(values)} rows, expected {rows}; send one for each id"
            raise FeatureError("", "wrong_length", detail)
        for at, row in enumerate(values):
            if len(row) != self.dim:
                detail = f"found {len(row)} numbers, expected {self.dim}; {AS_DECLARED}"
                raise FeatureError(f"/{at}", "wrong_length", detail)
        return list(chain.from_iterable(values))

    def _cell(self, position: int) -> str:
        row, column = divmod(position, self.dim)
        return f"/{row}/{column}"


def _names_expected() -> FeatureError:
    return FeatureError("", "wrong_kind", "this policy takes named features; send `features`")
