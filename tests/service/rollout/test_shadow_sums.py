"""What candidates would have earned, as sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.shadow_sums import Scored, ShadowState, ShadowSums, encode_state, read_state


def test_matches_and_probabilities_are_means() -> None:
    sums = ShadowSums()

    for is_match, probability in ((True, 0.9), (False, 0.1), (True, 0.5), (True, 0.5)):
        sums.score(Scored(is_match, probability, 1.0))

    view = sums.view("home@2", "online")
    assert (view.scored, view.match_rate, view.mean_probability) == (4, 0.75, 0.5)
    assert (view.rewarded, view.lift, view.mean_weight, view.is_supported) == (0, None, None, False)


def test_a_lift_is_self_normalized_and_less_what_was_earned() -> None:
    """Uniform over two actions, and a candidate that takes the first with 0.9: ratios 1.8 and 0.2.

    Rewards 1, 0, 1, 0 for ratios 1.8, 0.2, 1.8, 0.2: value 3.6 / 4 = 0.9, logged 0.5, lift 0.4;
    rows of its own (4 ^ 2) / (2 * 3.24 + 2 * 0.04) = 16 / 6.56.
    """
    sums = ShadowSums()

    sums.reward([1.8, 0.2], [1.0, 0.0])
    sums.reward([1.8, 0.2], [1.0, 0.0])

    view = sums.view("home@2", "online")
    assert view.lift == pytest.approx(0.4)
    assert view.logged == pytest.approx(0.5)
    assert view.mean_weight == pytest.approx(1.0)
    assert view.effective_rows == pytest.approx(16 / 6.56)
    assert view.is_supported


def test_what_the_baseline_never_did_is_no_support() -> None:
    """A certain baseline, and a candidate that agrees with it one time in ten: the mean weight is 0.1."""
    sums = ShadowSums()

    sums.reward([0.1] * 50, [1.0] * 50)

    view = sums.view("home@2", "apprentice")
    assert view.mean_weight == pytest.approx(0.1)
    assert not view.is_supported


@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.floats(-3, 3)), min_size=2, max_size=20),
    st.integers(1, 19),
)
def test_parts_may_come_apart(rows: list[tuple[float, float]], cut: int) -> None:
    cut = min(cut, len(rows) - 1)
    whole, parts = ShadowSums(), ShadowSums()
    whole.reward(*zip(*rows, strict=True))
    parts.reward(*zip(*rows[:cut], strict=True))

    kept = read_state(encode_state(ShadowState({2: {"online": parts}})))
    kept.versions[2]["online"].reward(*zip(*rows[cut:], strict=True))

    found, expected = (one.view("v", "online") for one in (kept.versions[2]["online"], whole))
    assert found.lift == pytest.approx(expected.lift, abs=1e-9)
    assert found.lift_error == pytest.approx(expected.lift_error, abs=1e-6)
    assert found.effective_rows == pytest.approx(expected.effective_rows)


def test_a_state_of_another_time_is_let_go() -> None:
    assert read_state(b"\x01") == ShadowState()
