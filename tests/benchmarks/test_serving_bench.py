from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.machine import Machine, describe_machine
from benchmarks.serving.cases import all_cases
from benchmarks.serving.report import (
    TARGETS,
    Report,
    headline_rows,
    make_report,
    markdown,
    rows,
)
from benchmarks.serving.statistics import (
    Measured,
    Window,
    noise,
    paired_difference_us,
    paired_ratio,
    percentile,
    summarize,
)
from benchmarks.serving.swaps import SwapResult, judge
from benchmarks.serving.workload import (
    SMALL,
    by_blocks,
    by_ids,
    by_nested_json,
    json_shots,
    questions,
)

QUIET, NOISY = 0.01, 0.5
SWAPS = SwapResult(
    swaps=1000,
    decisions=5000,
    errors=0,
    torn=0,
    seen_versions=8,
    median_ms=11.0,
    seconds=13.0,
    complaint="",
)


def window(cpu_us: float, *, foreign: float = QUIET, p50_us: float = 100.0) -> Window:
    return Window(
        requests=1000,
        failed=0,
        seconds=0.5,
        cpu_us=cpu_us,
        foreign=foreign,
        p50_us=p50_us,
        p99_us=2 * p50_us,
    )


def measured(*costs_us: float, foreign: float = QUIET) -> Measured:
    windows = [window(cost, foreign=foreign) for cost in costs_us]
    return Measured(closed=windows, open=windows[:1])


# -- statistics -----------------------------------------------------------------------------------


def test_the_percentile_is_the_nearest_rank() -> None:
    ordered = [10.0, 20.0, 30.0, 40.0]

    # 0.5 * 4 = 2nd value; 0.51 * 4 = 2.04 needs the 3rd; 0.99 * 4 = 3.96 needs the 4th
    assert [percentile(ordered, share) for share in (0.5, 0.51, 0.99)] == [20.0, 30.0, 40.0]


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_at_least_the_asked_share_lies_at_or_below_the_percentile(
    values: list[float], share: float
) -> None:
    ordered = sorted(values)

    found = percentile(ordered, share)

    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9


def test_a_ratio_is_the_median_of_the_ratios_inside_the_rounds() -> None:
    # The machine was twice as slow in the second round, for both: 40/20, 80/40, 90/30 -> 2, 2, 3
    slow, fast = measured(40, 80, 90), measured(20, 40, 30)

    assert paired_ratio(slow, fast) == 2.0


def test_a_difference_is_the_median_of_the_differences_inside_the_rounds() -> None:
    # 46 - 40, 52 - 48, 60 - 50 -> 6, 4, 10
    assert paired_difference_us(measured(46, 52, 60), measured(40, 48, 50)) == 6.0


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio(measured(1.0, 2.0), measured(1.0))


def test_throughput_and_latency_come_from_quiet_windows_only() -> None:
    quiet, noisy = window(40.0), window(50.0, foreign=NOISY, p50_us=9000.0)
    case = Measured(closed=[quiet, noisy, noisy], open=[quiet, noisy])

    result = summarize(case, case)

    assert result.cpu_us == 50.0
    assert result.per_second == 1000 / 0.5
    assert result.p50_us == 100.0
    assert (result.quiet_windows, result.windows) == (2, 5)


def test_a_case_without_a_quiet_window_has_no_throughput() -> None:
    result = summarize(measured(40.0, foreign=NOISY), measured(20.0, foreign=NOISY))

    assert result.per_second is None
    assert result.p99_us is None
    assert result.share_of_floor == 0.5


def test_failures_of_all_windows_add_up() -> None:
    bad = Window(requests=9, failed=3, seconds=1.0, cpu_us=1.0, foreign=0.0, p50_us=1.0, p99_us=1.0)

    assert summarize(Measured([bad], [bad]), measured(1.0)).failed == 6


def test_half_of_the_windows_being_quiet_is_enough() -> None:
    verdict = noise([window(1.0), window(1.0, foreign=NOISY)])

    assert not verdict.is_too_noisy
    assert verdict.verdict == "1 of 2 windows were quiet (others below 5%)"


def test_a_noisy_machine_is_called_too_noisy() -> None:
    verdict = noise([window(1.0), *[window(1.0, foreign=NOISY)] * 2])

    assert verdict.is_too_noisy
    assert verdict.verdict.startswith("TOO NOISY: only 1 of 3")
    assert "50% of the machine" in verdict.verdict


# -- report ---------------------------------------------------------------------------------------


def a_report(*, with_vw: bool = True, torn: int = 0) -> Report:
    costs = {
        "floor": 24.0, "act_small": 40.0, "act_small_no_log": 35.0, "observe": 30.0,
        "act_500_ids": 200.0, "act_500_binary": 160.0, "act_500_nested": 900.0,
        "naive_small": 360.0, "naive_500_ids": 1000.0, "naive_500_nested": 3200.0,
        "frozen_small": 300.0, "frozen_500_nested": 2400.0,
        "naive_def_small": 500.0, "naive_def_500_nested": 6000.0,
        "vw_small": 80.0, "vw_500_nested": 4500.0,
    }  # fmt: skip
    cases = all_cases(has_vw=with_vw)
    return make_report(
        {case.name: measured(costs[case.name], costs[case.name]) for case in cases},
        {case.name: case.title for case in cases},
        msgspec.structs.replace(SWAPS, torn=torn),
        command="make bench-serving",
        date="2026-01-31 12:00 UTC",
        machine=Machine("Some CPU", 2, 24.0, "Linux 6", "3.11.7", {"uvicorn": "0.54.0"}),
        window_s=0.5,
        connections=(32, 8),
    )


def test_the_headline_has_exactly_the_numbers_that_were_promised() -> None:
    plain = msgspec.json.decode(msgspec.json.encode(a_report()))

    # 24/40, 360/40, 3200/200, 3200/160, 40 - 35, 80/40
    assert plain["headline"] == {
        "durable_small_over_floor": 0.6,
        "naive_over_durable_small": 9.0,
        "naive_over_durable_500_ids": 16.0,
        "naive_over_durable_500_binary": 20.0,
        "awaited_log_us": 5.0,
        "swap_errors": 0,
        "swap_torn": 0,
        "vw_over_durable_small": 2.0,
    }


def test_the_json_is_a_report_again_when_it_is_read() -> None:
    report = a_report()

    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_without_vw_its_number_is_null_and_the_rest_is_there() -> None:
    report = a_report(with_vw=False)

    assert report.headline.vw_over_durable_small is None
    assert "vw_small" not in report.cases
    assert headline_rows(report)[-1] == ("vw_over_durable_small", "-", "", "")


def test_a_missed_target_is_named() -> None:
    assert a_report().below_target == []
    assert a_report(torn=2).below_target == ["swap_torn"]


def test_a_log_that_seems_to_save_time_does_not_meet_its_target() -> None:
    target = TARGETS["awaited_log_us"]

    assert target.is_met(4.0)
    assert not target.is_met(-4.0)


def test_every_target_belongs_to_a_number_of_the_headline() -> None:
    assert set(TARGETS) <= set(msgspec.to_builtins(a_report().headline))


def test_the_table_has_a_line_for_every_case() -> None:
    lines = rows(a_report())

    assert lines[0][:4] == ("raw ASGI app (the floor)", "24.0", "24.0 - 24.0", "1.00")
    assert len(lines) == len(all_cases(has_vw=True))


def test_the_results_page_says_how_when_and_where() -> None:
    page = markdown(a_report())

    assert "`make bench-serving` on 2026-01-31 12:00 UTC" in page
    assert "Some CPU, 2 cores, 24 GiB" in page
    assert "| durable_small_over_floor | 0.6 | at least 0.6 | met |" in page
    assert "0 errors, 0 torn decisions" in page


def test_this_machine_can_be_described() -> None:
    machine = describe_machine(("msgspec", "no-such-package"))

    assert machine.cores >= 1
    assert set(machine.packages) == {"msgspec"}


# -- workload and swaps ---------------------------------------------------------------------------


def test_all_forms_of_a_question_show_the_same_actions() -> None:
    question = questions(SMALL)[0]

    table = by_blocks(SMALL, question)["actions"]
    nested = by_nested_json(SMALL, question)["actions"]

    assert by_ids(SMALL, question)["actions"] == question.ids
    assert [item["id"] for item in nested] == table["ids"] == question.ids
    rows_sent = np.array([item["vector"] for item in nested], np.float32)
    assert np.array_equal(rows_sent, np.frombuffer(table["vectors"], "<f4").reshape(10, 16))


def test_only_the_actions_of_a_question_are_right_answers_to_it() -> None:
    question = replace(questions(SMALL)[0], ids=["a1", "a2"])

    (shot,) = json_shots("/v1/act", [by_ids(SMALL, question)], [question])

    assert shot.accepted == {b"a1", b"a2"}
    assert shot.request.startswith(b"POST /v1/act HTTP/1.1\r\n")


EXPECTED = {1: [np.array([0.1, 0.2])], 2: [np.array([1.1, 1.2])]}


def answered(version: str, *scores: float) -> tuple[int, bytes]:
    ranking = [{"id": f"a{at}", "score": score} for at, score in enumerate(scores)]
    return 0, msgspec.json.encode({"model_version": version, "ranking": ranking})


def test_a_decision_of_the_version_that_it_names_is_whole() -> None:
    answers = [answered("small@1", 0.1, 0.2), answered("small@2", 1.1, 1.2)]

    assert judge(answers, EXPECTED) == (0, 2)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answered("small@1", 0.1, 1.2), id="half from each version"),
        pytest.param(answered("small@2", 0.1, 0.2), id="another version than it names"),
        pytest.param(answered("small@1", 0.1), id="an action is missing"),
    ],
)
def test_a_decision_that_is_not_of_the_version_that_it_names_is_torn(
    answer: tuple[int, bytes],
) -> None:
    assert judge([answer], EXPECTED) == (1, 1)
