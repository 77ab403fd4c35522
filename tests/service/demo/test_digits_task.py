"""The digits task: action sets that never stay the same, exact references, imperfect feedback."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.demo.digits_task import Task, make_tasks

CLASSES = {str(label) for label in range(10)}


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return make_tasks(3000, seed=0)


def task(label: str, actions: Sequence[str]) -> Task:
    return Task(image=[0.0] * 64, actions=actions, label=label, reports_s=[])


def test_uniform_play_expects_one_over_the_number_of_actions() -> None:
    offered = task("3", ["1", "3", "7", "9"])

    assert offered.uniform == 0.25
    assert offered.best == 1.0


def test_the_best_is_0_for_everybody_when_the_label_is_not_offered() -> None:
    withheld = task("3", ["1", "7"])

    assert withheld.best == withheld.uniform == 0.0


def test_only_the_right_label_is_rewarded() -> None:
    offered = task("3", ["1", "3"])

    assert offered.reward("3") == 1.0
    assert offered.reward("1") == 0.0


def test_the_same_seed_gives_the_same_tasks() -> None:
    assert make_tasks(20, seed=5) == make_tasks(20, seed=5)
    assert make_tasks(20, seed=5) != make_tasks(20, seed=6)


def test_every_request_offers_two_to_ten_of_the_ten_classes(tasks: list[Task]) -> None:
    sizes = {len(CLASSES & set(one.actions)) for one in tasks}

    assert sizes == set(range(2, 11))
    assert all(len(set(one.actions)) == len(one.actions) for one in tasks)


def test_an_id_that_nobody_has_seen_comes_up_now_and_then(tasks: list[Task]) -> None:
    unseen = [action for one in tasks for action in one.actions if action not in CLASSES]

    assert len(unseen) == len(set(unseen))
    assert 0.05 < len(unseen) / len(tasks) < 0.15


def test_the_place_of_the_label_gives_nothing_away(tasks: list[Task]) -> None:
    # Playing the first action is as good as uniform play: about 3,000 * 0.2 rewards, 22 standard deviation.
    first = sum(one.reward(one.actions[0]) for one in tasks)

    assert first == pytest.approx(sum(one.uniform for one in tasks), abs=100)


def test_uniform_play_gets_about_a_fifth_of_the_best(tasks: list[Task]) -> None:
    share = sum(one.uniform for one in tasks) / sum(one.best for one in tasks)

    assert 0.19 < share < 0.23


def test_rewards_come_late_twice_or_never(tasks: list[Task]) -> None:
    reports = [len(one.reports_s) for one in tasks]
    delays = [delay for one in tasks for delay in one.reports_s]

    assert 0.05 < reports.count(0) / len(tasks) < 0.11
    assert 0.02 < reports.count(2) / len(tasks) < 0.08
    assert min(delays) > 0
    # Some come after the five seconds that the policy waits.
    assert 0 < sum(delay > 5 for delay in delays) < 0.03 * len(delays)
