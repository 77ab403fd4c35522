"""When windows become alarms, and when alarms end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from service.monitoring.judge import (
    Alarm,
    Need,
    changes,
    judged,
    needs_of,
    recovered,
    silent_in,
    tripped,
    why,
)
from service.monitoring.readings import Reading
from service.policies.config import parse_policy
from tests.support.policies import bandit, sequential

_NONE: Mapping[str, Need] = {}


def _reading(signal: str, *, bad: bool, severe: bool = False, kind: str = "") -> Reading:
    return Reading(signal=signal, kind=kind, value=1.0, limit=0.5, is_beyond=bad, is_severe=severe)


def _after(
    signal: str, windows: Sequence[tuple[bool, bool]], need: Need | None = None
) -> dict[str, Alarm]:
    """The alarms after windows of (bad, severe)."""
    alarms: dict[str, Alarm] = {}
    for at, (bad, severe) in enumerate(windows):
        said = [_reading(signal, bad=bad, severe=severe)]
        needs = {} if need is None else {signal: need}
        alarms = judged(alarms, said, needs, frozenset(), at)
    return alarms


_BAD, _GOOD, _SEVERE = (True, False), (False, False), (True, True)


def test_one_bad_window_is_not_enough_for_a_warning() -> None:
    assert _after("states", [_GOOD, _BAD])["states"].level == ""


def test_two_bad_windows_in_a_row_warn() -> None:
    alarm = _after("states", [_BAD, _BAD, _BAD])["states"]

    assert alarm.level == "warning"
    assert alarm.since_ms == 1


def test_a_low_reward_warns_at_once() -> None:
    assert _after("reward", [_BAD])["reward"].level == "warning"


def test_a_warning_ends_after_two_good_windows() -> None:
    assert _after("reward", [_BAD, _GOOD])["reward"].level == "warning"
    assert _after("reward", [_BAD, _GOOD, _GOOD])["reward"].level == ""


def test_three_severe_windows_of_the_last_five_trip() -> None:
    windows = [_SEVERE, _GOOD, _SEVERE, _GOOD, _SEVERE]

    assert _after("reward", windows, Need(3, 5))["reward"].level == "trip"
    assert _after("reward", [*windows[:4], _GOOD, _SEVERE], Need(3, 5))["reward"].level != "trip"


def test_what_tripped_stays_so_and_counts_its_good_windows() -> None:
    alarm = _after("reward", [_SEVERE] * 3 + [_GOOD] * 4, Need(3, 5))["reward"]

    assert alarm.level == "trip"
    assert alarm.healthy == 4
    assert alarm.reading is not None
    assert alarm.reading.is_severe


def test_a_recovery_begins_what_tripped_anew_and_nothing_else() -> None:
    alarms = _after("reward", [_SEVERE] * 3, Need(3, 5)) | _after("states", [_BAD, _BAD])

    after = recovered(alarms, 7)

    assert after["reward"] == Alarm(since_ms=7)
    assert after["states"] == alarms["states"]


def test_a_silent_signal_raises_nothing() -> None:
    said = [_reading("actions", bad=True)]

    assert judged({}, said, _NONE, frozenset({"actions"}), 0) == {}


def test_a_signal_is_as_bad_as_its_worst_kind() -> None:
    said = [_reading("states", bad=False, kind="psi"), _reading("states", bad=True, kind="mmd")]

    alarms = judged({}, said, _NONE, frozenset(), 0)
    alarms = judged(alarms, said, _NONE, frozenset(), 1)

    assert alarms["states"].level == "warning"
    assert alarms["states"].reading == said[1]


def test_evidence_trips_whatever_windows_say() -> None:
    reading = _reading("constraint:spend", bad=True)

    alarm = tripped(Alarm(), reading, 5)

    assert (alarm.level, alarm.since_ms, alarm.reading) == ("trip", 5, reading)
    assert tripped(alarm, None, 9) == alarm


def test_changes_are_levels_that_are_others_now() -> None:
    before = _after("reward", [_BAD])
    after = _after("reward", [_BAD, _GOOD, _GOOD]) | _after("states", [_BAD, _BAD])

    found = changes(before, after, 3)

    assert [(one.signal, one.before, one.level) for one in found] == [
        ("reward", "warning", ""),
        ("states", "", "warning"),
    ]


def test_people_are_told_in_sentences() -> None:
    assert why("reward", _reading("reward", bad=True)) == "reward is 1, beyond its limit of 0.5"
    assert why("states", None) == "states is as it was expected"


def test_what_learning_changes_is_silent_unless_something_else_is_declared() -> None:
    chosen = parse_policy(bandit(monitoring={"silent": ["delay"]}))

    assert silent_in(parse_policy(bandit())) == {"actions", "rewards"}
    assert silent_in(parse_policy(sequential())) == {"actions", "rewards", "states"}
    assert silent_in(parse_policy(sequential() | {"trips": {"state": {}}})) == {
        "actions",
        "rewards",
    }
    assert silent_in(chosen) == {"delay"}


def test_only_what_a_policy_declares_trips_it() -> None:
    quiet = parse_policy(bandit())
    loud = parse_policy(
        bandit(trips={"reward": {"windows": 2, "of": 4}, "state": {}, "latency": {}})
    )

    assert needs_of(quiet) == {}
    assert needs_of(loud) == {
        "reward": Need(2, 4),
        "states": Need(3, 5),
        "latency": Need(1, 1),
    }


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_nothing_trips_without_enough_severe_windows(
    severe: list[bool], needed: int, of: int
) -> None:
    needed, of = min(needed, of), max(needed, of)
    alarms = _after("reward", [(one, one) for one in severe], Need(needed, of))

    spans = [severe[max(0, end - of) : end] for end in range(1, len(severe) + 1)]
    has_tripped = any(sum(span) >= needed for span in spans)

    assert (bool(alarms) and alarms["reward"].level == "trip") == has_tripped
