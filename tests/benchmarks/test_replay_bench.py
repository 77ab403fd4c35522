from __future__ import annotations

from benchmarks.machine import describe_machine
from benchmarks.replay.memory import SampleResult, bytes_of_a_hundred, bytes_of_continuous
from benchmarks.replay.report import Report, headline, headline_rows, markdown
from benchmarks.replay.stream import Passage, StreamResult
from benchmarks.replay.workload import STEPS, transitions, walker

_STREAM = StreamResult(
    title="walks",
    entry_bytes=300.0,
    learned=[Passage(1000, 0.01, 0.02), Passage(1000, 0.03, 0.06), Passage(1000, 0.02, 0.02)],
    read=[Passage(1000, 0.005, 0.02), Passage(1000, 0.006, 0.02), Passage(1000, 0.01, 0.02)],
)
_SAMPLES = SampleResult([20.0, 40.0, 30.0], [5.0, 5.0, 5.0], [90.0] * 3, [200.0, 400.0, 900.0])


def _report(samples: SampleResult = _SAMPLES) -> Report:
    return Report(
        command="python -m benchmarks.replay",
        date="today",
        machine=describe_machine(()),
        rounds=3,
        headline=headline([_STREAM], samples, 180.0, 180.4),
        streams=[_STREAM],
        samples=samples,
    )


def test_rates_are_medians_and_ratios_are_medians_of_ratios_inside_a_round() -> None:
    found = _report().headline

    # 1000 / 0.02 s of processor time; by the clock 50,000, 16,667 and 50,000.
    assert found.redis_to_rows_per_s == 50_000
    assert found.redis_to_rows_per_s_by_the_clock == 50_000
    # 0.01 / 0.005 = 2, 0.03 / 0.006 = 5, 0.02 / 0.01 = 2
    assert found.redis_to_rows_over_bare_read == 2
    # 200 / 20 = 10, 400 / 40 = 10, 900 / 30 = 30
    assert found.sample256_over_sb3 == 10
    # 200 / 5 = 40, 400 / 5 = 80, 900 / 5 = 180
    assert found.sample256_of_eight_over_sb3 == 80


def test_what_misses_its_target_says_so() -> None:
    verdicts = {name: verdict for name, _, _, verdict in headline_rows(_report())}

    assert verdicts["redis_to_rows_per_s"] == "MISSED"
    assert verdicts["sample256_over_sb3"] == "met"
    assert verdicts["sample256_us"] == ""


def test_a_peer_that_is_not_installed_is_named_and_has_no_verdict() -> None:
    report = _report(SampleResult([20.0], [5.0], [90.0], None))

    rows = {name: (value, verdict) for name, value, _, verdict in headline_rows(report)}

    assert rows["sample256_over_sb3"] == ("stable-baselines3 is not installed", "")
    assert "not installed" in markdown(report)


def test_the_page_tells_the_command_and_every_stream() -> None:
    page = markdown(_report())

    assert "`python -m benchmarks.replay`" in page
    assert "walks" in page


def test_episodes_of_the_workload_end_and_go_on_where_they_were() -> None:
    made = transitions(walker(100).agent.spec, 2 * STEPS)

    assert [t.step for t in made if t.truncated] == [STEPS - 1, STEPS - 1]
    assert made[3].next_state is not None
    assert (made[3].next_state == made[4].state).all()


def test_bytes_keep_their_promise() -> None:
    """165 raw bytes times 1.1 are 181.5."""
    assert bytes_of_continuous() <= 181.5
    assert bytes_of_a_hundred() <= 400
