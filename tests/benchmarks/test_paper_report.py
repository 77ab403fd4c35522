from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.machine import Machine
from benchmarks.paper.report import PAGE, judged, page, rows, stored, write
from benchmarks.paper.results import Finding, Outcome, SuiteResult

MACHINE = Machine("Some CPU", 2, 24.0, "Linux 6", "3.11.7", {"torch": "2.0"})


def a_result(*, holds: bool | None = True, greedy_return: float = 200.0) -> SuiteResult:
    """The cartpole suite with one arm and one claim."""
    finding = Finding({"return": 12.345}, {"return": 10.0}, "at least so much", holds)
    return SuiteResult(
        suite="cartpole",
        title="CartPole-v1",
        date="2026-01-31 12:00 UTC",
        command="make bench-paper",
        machine=MACHINE,
        headline={"it learns": finding},
        unavailable={"PPO": "not available: policy_learner ppo"},
        ticks={},
        policies={},
        outcomes={"SARSA": [Outcome([], [], {"greedy_return": greedy_return}, seconds=12.3)]},
    )


def test_a_line_has_the_claim_both_numbers_and_the_verdict() -> None:
    assert rows(a_result()) == [
        ("it learns", "return 12.35", "return 10: at least so much", "holds")
    ]


@pytest.mark.parametrize(
    ("holds", "told"), [(True, "holds"), (False, "DOES NOT HOLD"), (None, "not measured")]
)
def test_a_verdict_is_told_plainly(holds: bool | None, told: str) -> None:
    assert rows(a_result(holds=holds))[0][-1] == told


def test_the_page_says_how_when_and_where() -> None:
    told = page([a_result()])

    assert "`make bench-paper`, 2026-01-31 12:00 UTC: 1 seed, 12 s." in told
    assert "Machine: Some CPU, 2 cores, 24 GiB" in told
    assert "PPO: not available: policy_learner ppo." in told


def test_the_page_says_when_arms_have_fewer_seeds_than_others() -> None:
    known = a_result().outcomes["SARSA"]
    result = msgspec.structs.replace(a_result(), outcomes={"SARSA": known, "DQN": known * 3})

    assert "12:00 UTC: 1 to 3 seeds, 49 s." in page([result])


def test_the_page_shows_curves_where_there_are_some(tmp_path: Path) -> None:
    without = a_result()
    drawn = msgspec.structs.replace(without, outcomes={"SARSA": [Outcome([1], [5.0])]})

    for result, is_shown in ((without, False), (drawn, True)):
        write(result, tmp_path / "cartpole.json")
        assert ("![curves](results/cartpole.png)" in page([result])) == is_shown
        assert (tmp_path / "cartpole.png").exists() == is_shown


def test_the_page_counts_the_claims_that_hold_among_those_that_were_measured() -> None:
    told = page([a_result(holds=one) for one in (True, False, None)])

    assert "1 of the 2 claims that were measured hold." in told


def test_the_page_names_the_suites_that_were_not_run() -> None:
    told = page([a_result()])

    assert "Not run: Tables with labels as bandits (`uci_bandits`)" in told
    assert "(`cartpole`)" not in told


# The task counts as solved from 195 on.
@pytest.mark.parametrize(("greedy_return", "holds"), [(195.0, True), (194.0, False)])
def test_claims_are_judged_anew_from_what_was_measured(greedy_return: float, holds: bool) -> None:
    headline = judged(a_result(greedy_return=greedy_return)).headline

    assert headline["SARSA learns"] == Finding(
        {"greedy_return": greedy_return, "standard_error": 0.0},
        {"greedy_return": 195.0},
        "at least this, where the task counts as solved",
        holds,
    )


def test_a_result_is_the_same_when_it_is_read_again() -> None:
    result = a_result()

    assert msgspec.json.decode(msgspec.json.encode(result), type=SuiteResult) == result


# -- what is committed --------------------------------------------------------------------------


def test_the_results_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(stored()), "run python -m benchmarks.paper.report"


def test_the_results_are_judged_as_the_suites_judge_today() -> None:
    for result in stored():
        assert result == judged(result), "run python -m benchmarks.paper.report"
