"""What is watched, one signal a file: sums of a window's rows, and what they say beside those of the reference.

    sums = signal.of(rows)                          of a part of a window; None where no row has any
    readings = signal.read(sums, reference, before)

Of outcomes, as they are joined:

    rewards       the mean reward, its distribution, jumps, correlations and means of components, costs
    value_error   how far rewards are from what the policy expected
    joins         how decisions end
    delay         how long rewards take

Of a sample of decisions:

    states        psi, mmd, kl: observations beside the reference's
    actions       which actions are taken
    propensity    whether logged probabilities hold
    exploration   whether anything is still tried
    latency       how long decisions take, and how many ran out of time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from service.monitoring.packing import Sums
from service.monitoring.readings import Reading
from service.monitoring.windows import Timed

Row_contra = TypeVar("Row_contra", bound=Timed, contravariant=True)


class Signal(Protocol[Row_contra]):
    """`name`: of its sums in a window. `kind`: their class."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Any: ...

    def of(self, rows: Sequence[Row_contra]) -> Sums | None: ...

    def read(self, window: Any, reference: Any, before: Any) -> list[Reading]:
        """What `window` says. `reference`: sums of the frozen rows; `before`: of the window before; None where there
        are none."""
        ...
