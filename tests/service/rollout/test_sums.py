"""What the log says of a rollout: sums of arms and steps, kept and gone on from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.archive.logic import StreamId
from service.following.observer import LogEvent
from service.joining.logic import JoinedEvent, Outcome
from service.policies.head import Rollout
from service.policies.schemas import PolicyEvent
from service.rollout.sums import RolloutNote, RolloutSums

_numbers = count(1)


def event(kind: str, body: bytes) -> LogEvent:
    return LogEvent(StreamId(next(_numbers), 0), kind, "", body)


def joined(
    arm: str = "live",
    reward: float | None = 1.0,
    *,
    made_ms: int = 0,
    cost: float = 0.0,
    took_us: int = 0,
    outcome: Outcome = "rewarded",
) -> LogEvent:
    """A closed decision; version 2 decides in the canary, version 1 elsewhere."""
    version = 2 if arm == "canary" else 1
    body = JoinedEvent(outcome, reward, cost, version, arm, made_ms, took_us=took_us)
    return event("joined", msgspec.msgpack.encode(body))


def noted(to: str, since_ms: int = 0, rollout_id: str = "r", **about: object) -> LogEvent:
    """A move of the rollout of version 2."""
    note = msgspec.convert(
        {"to": to, "rollout_id": rollout_id, "candidate": 2, "since_ms": since_ms, **about},
        RolloutNote,
    )
    detail = msgspec.to_builtins(note)
    body = PolicyEvent(what="rollout", who="ana", why="", at="", detail=detail)
    return event("rollout", msgspec.json.encode(body))


def published(version: int) -> LogEvent:
    return event("version", msgspec.json.encode({"version": version, "parent": 0}))


ROLLOUT = Rollout(
    rollout_id="r", candidate=2, stage="canary", started_ms=0, since_ms=100, share=0.5
)


def test_arms_are_summed_by_when_their_decisions_were_made() -> None:
    sums = RolloutSums()

    sums.take([noted("canary", 100), joined("canary", 1.0, made_ms=99), joined(made_ms=99)])
    sums.take([joined("canary", 0.0, made_ms=100), joined("canary", 1.0, made_ms=150)])
    sums.take([noted("canary", 200), joined("canary", 5.0, made_ms=199), joined("canary", 9.0, made_ms=200)])  # fmt: skip

    first, second = sums.steps(ROLLOUT)
    # 0, 1 and, though it came after the step, 5: mean 2, squares around it 4 + 1 + 9.
    assert (first.canary.count, first.canary.mean[0], first.canary.scatter[0]) == (3, 2.0, 14.0)
    assert (second.canary.count, second.canary.mean[0]) == (1, 9.0)
    assert first.live.count == 0


def test_more_is_better_in_every_column() -> None:
    sums = RolloutSums()

    sums.take([noted("canary", 0), joined(reward=0.5, cost=2.0, took_us=3_000)])

    assert sums.steps(ROLLOUT)[0].live.mean == [0.5, -2.0, -3.0]


@pytest.mark.parametrize(
    "other",
    [
        joined("holdback", 1.0),
        joined("fallback", 1.0),
        joined("canary", None, outcome="not_activated"),
        joined("live", 1.0, outcome="not_learned"),
    ],
)
def test_what_is_of_no_arm_counts_nowhere(other: LogEvent) -> None:
    sums = RolloutSums()

    sums.take([noted("canary", 0), other])

    assert sums.kept.rewards == 0
    assert sums.steps(ROLLOUT)[0].live.count == 0


def test_another_rollout_begins_from_nothing() -> None:
    sums = RolloutSums()

    sums.take([noted("canary", 0), joined("canary"), noted("retired"), noted("candidate", rollout_id="s")])  # fmt: skip

    assert sums.steps(ROLLOUT) == []
    assert sums.kept.tried == 2
    assert sums.kept.to == "candidate"


def test_the_mean_of_the_live_version_is_that_since_the_candidate_was_published() -> None:
    sums = RolloutSums()

    sums.take([joined(reward=9.0), published(2), joined(reward=1.0), joined(reward=0.0)])

    assert sums.mean_of(1, 2) == (0.5, 2)
    assert sums.mean_of(1, 7) == (10 / 3, 3)  # nobody knows when 7 was published: all that there is
    assert sums.mean_of(5, 2) == (0.0, 0)


def test_a_version_that_went_live_later_has_all_of_its_rewards() -> None:
    sums = RolloutSums()

    sums.take([joined(reward=9.0), published(3), joined("canary", 2.0), joined("canary", 4.0)])

    assert sums.mean_of(2, 3) == (3.0, 2)


def test_growth_counts_rewards_since_the_candidate_was_made() -> None:
    sums = RolloutSums()

    sums.take([joined(), published(2), joined(), joined()])
    before = sums.rewards_since(2), sums.grown(2)
    sums.take([noted("shadow", asked="evaluation", rewards=3), joined(), joined(), joined()])

    assert before == (2, float("inf"))
    # 2 when it was asked for, 5 now.
    assert (sums.rewards_since(2), sums.grown(2)) == (5, 2.5)


def test_only_the_last_versions_are_remembered() -> None:
    sums = RolloutSums()

    sums.take([published(version) for version in range(1, 101)])

    assert (sums.kept.newest, len(sums.kept.published), min(sums.kept.published)) == (100, 64, 37)


def test_a_state_of_another_time_is_let_go() -> None:
    assert RolloutSums(b"\x01").state() == RolloutSums().state()


_events = st.one_of(
    st.builds(
        joined,
        st.sampled_from(["live", "canary", "holdback"]),
        st.sampled_from([None, 0.0, 1.0, -3.5]),
        made_ms=st.integers(0, 50),
        cost=st.sampled_from([0.0, 0.25]),
        took_us=st.integers(0, 5_000),
    ),
    st.builds(noted, st.sampled_from(["shadow", "canary", "retired"]), st.just(20)),
    st.builds(published, st.integers(1, 9)),
)


@given(st.lists(_events, max_size=40), st.integers(0, 40))
def test_a_worker_that_goes_on_from_a_kept_state_has_the_same_sums(
    events: Sequence[LogEvent], cut: int
) -> None:
    whole, first = RolloutSums(), RolloutSums()
    whole.take(events)
    first.take(events[:cut])

    second = RolloutSums(first.state())
    second.take(events[cut:])

    assert second.state() == whole.state()
