from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.monitoring.quantiles import QuantileSketch
from agent_core.types import Doubles
from tests.agent_core.monitoring.strategies import assert_order_does_not_matter

_values = hnp.arrays(
    np.float64,
    st.integers(1, 30),
    elements=st.just(0.0) | st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9),
)


def test_percentiles_of_a_hundred_delays() -> None:
    sketch = QuantileSketch.of(np.arange(1.0, 101.0))

    assert sketch.quantile(0.5) == pytest.approx(50, rel=0.011)
    assert sketch.quantile(0.99) == pytest.approx(99, rel=0.011)
    assert sketch.quantile(0.0) == 1.0
    assert sketch.quantile(1.0) == pytest.approx(100, rel=0.011)


def test_rewards_of_either_sign_and_zeros_keep_their_order() -> None:
    sketch = QuantileSketch.of(np.array([-8.0, -0.5, 0.0, 0.0, 2.0]))

    found = [sketch.quantile(share) for share in (0.2, 0.4, 0.6, 0.8, 1.0)]

    assert found == pytest.approx([-8.0, -0.5, 0.0, 0.0, 2.0], rel=0.011)


def test_memory_is_bounded_whatever_comes() -> None:
    wild = np.exp(np.random.default_rng(0).normal(0, 60, 200_000))

    sketch = QuantileSketch.of(np.concatenate([wild, -wild, [1e300, -1e300, 5e-324]]))

    assert len(sketch.places) <= 6_401
    assert sketch.largest == 1e300
    assert math.isfinite(sketch.quantile(1.0))


@given(_values, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_quantile_is_near_the_value_of_that_rank(values: Doubles, share: float) -> None:
    exact = np.sort(values)[max(0, math.ceil(share * len(values)) - 1)]

    assert QuantileSketch.of(values).quantile(share) == pytest.approx(exact, rel=0.0111, abs=1e-12)


@given(st.tuples(_values, _values, _values))
@settings(max_examples=40, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: tuple[Doubles, Doubles, Doubles]) -> None:
    assert_order_does_not_matter(QuantileSketch.of, list(parts))
