"""What the learner decides, by hand-worked cases."""

from __future__ import annotations

import pytest

from service.learning.logic import (
    begin,
    entries_wanted,
    finished,
    is_late,
    is_news,
    job_view,
    learned_by,
    oldest_kept,
    stream_order,
    transitions_since,
)
from service.learning.schemas import JobReport, JobRequest, Published, Until
from service.learning.training import PolicyTraining
from service.policies.config import parse_policy
from service.policies.repository import VersionDescription
from tests.support.policies import bandit
from tests.support.training import CPU


def version(number: int, first: str, last: str) -> VersionDescription:
    return VersionDescription(
        version=number,
        parent=number - 1,
        made_at="",
        config_hash="",
        feature_schema="",
        experience=0,
        updates=0,
        first=first,
        last=last,
    )


def training(offset: int = 0) -> PolicyTraining:
    made = PolicyTraining(parse_policy(bandit()), CPU)
    made.progress.offset = offset
    return made


def request(
    new_transitions: int | None = None, max_seconds: float = 600.0, appended: int = 100
) -> JobRequest:
    until = Until(new_transitions=new_transitions, max_seconds=max_seconds)
    return JobRequest("home.1", "home", until, "none", False, 1_000, "8-0", appended)


def test_ids_of_entries_are_ordered_as_numbers() -> None:
    assert stream_order("9-1") < stream_order("10-0") < stream_order("10-2") < stream_order("10-10")


@pytest.mark.parametrize(
    ("replay_id", "expected"),
    [("1-0", []), ("2-0", [2, 3]), ("9-9", [2, 3]), ("10-0", [2, 3]), ("10-1", [3]), ("99-0", [])],
)
def test_versions_learned_what_lies_in_their_range(replay_id: str, expected: list[int]) -> None:
    """Version 1 was never trained; version 2 read up to 10-0, version 3 up to 20-5."""
    versions = [version(1, "", ""), version(2, "2-0", "10-0"), version(3, "2-0", "20-5")]

    assert learned_by(versions, replay_id) == expected


def test_the_newest_versions_are_kept() -> None:
    assert oldest_kept([3], 20) == 3
    assert oldest_kept(range(1, 21), 20) == 1
    assert oldest_kept(range(1, 31), 20) == 11


def test_only_what_was_not_published_is_news() -> None:
    """A learner that was restarted knows less than what it published, until it has read that again."""
    made = training(offset=7)
    assert not is_news(made, None)  # nothing learned

    made.extra_updates(1)
    published = Published(lineage=1, version=2, offset=8, updates=0)

    assert not is_news(made, published)


def test_without_a_number_a_job_learns_what_waits_when_it_begins() -> None:
    made = training(offset=40)

    report = begin(request(), made, 1, appended=110, now_ms=5)

    assert entries_wanted(report, made) == 70


def test_with_a_number_a_job_learns_that_many_from_where_the_training_stands() -> None:
    made = training(offset=40)

    report = begin(request(new_transitions=500), made, 1, appended=100, now_ms=5)

    assert entries_wanted(report, made) == 500


def test_what_came_after_the_request_is_new_even_if_it_was_learned_before_the_job_began() -> None:
    """Asked at 100 for 20 more; at 115 when the learner looks: 5 are left, and 15 count already."""
    made = training(offset=115)

    report = begin(request(new_transitions=20, appended=100), made, 1, appended=115, now_ms=5)

    assert entries_wanted(report, made) == 5
    assert report.start is not None
    assert report.start.position == "8-0"
    assert transitions_since(report.start, made) == 15


def test_a_job_is_late_after_its_seconds() -> None:
    report = JobReport("running", started_ms=1_000)

    assert not is_late(request(max_seconds=2), report, 2_999)
    assert is_late(request(max_seconds=2), report, 3_000)


def test_a_report_counts_what_came_since_the_job_began() -> None:
    """10 entries read since, of which 2 + 1 + 3 taught nothing."""
    made = training(offset=40)
    made.progress.skipped = {"schema": 3}
    report = begin(request(), made, 1, appended=100, now_ms=5)
    made.progress.skipped = {"schema": 5, "corrupt": 1}
    made.progress.missed = 3
    made.progress.offset = 50
    made.progress.position = "9-0"

    report = finished(report, made, 9, verdict="candidate", metrics={"loss": 0.5}, candidate=7)

    assert report.skipped == {"schema": 2, "corrupt": 1, "missed": 3}
    assert report.data is not None
    assert (report.data.after, report.data.last, report.data.transitions) == ("0-0", "9-0", 4)
    assert report.metrics == {"loss": 0.5, "updates": 0.0}
    view = job_view(request(), report)
    assert view.candidate == "home@7"
    assert view.created_at == "1970-01-01T00:00:01.000Z"
    assert view.finished_at == "1970-01-01T00:00:00.009Z"
