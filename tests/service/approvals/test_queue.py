"""The queue in Redis: asked once, ended once, and what was decided is recorded once."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.approvals import logic
from service.approvals.logic import approval_id_of, resolution, view
from service.approvals.repository import ApprovalKeys, Outcome
from service.approvals.rule import ApprovalRule
from service.clock import rfc3339
from service.decisions.repository import read_record
from service.repository import PolicyKeys
from tests.service.approvals.desk import ANSWER, HOLD, Desk
from tests.support.ledgers import START_MS

VERDICTS: tuple[logic.Verdict, ...] = ("approved", "rejected")
DONE_APPROVED = Outcome("done", "approved")


# -- asking -------------------------------------------------------------------------------------


async def test_a_held_decision_waits_and_nothing_is_recorded(desk: Desk) -> None:
    reply = await desk.ask("d1")

    assert reply == [b"held", b"digest", str(START_MS + 60_000).encode(), 1]
    assert await desk.recorded("d1") is None
    item = await desk.item("d1")
    assert (item.state, item.asked.requester) == ("pending", "shop")
    assert item.asked.causes == ("least_confidence",)
    assert await desk.audited() == [("pending", "shop", "")]


async def test_a_retry_finds_the_same_approval_with_the_same_deadline(desk: Desk) -> None:
    first = await desk.ask("d1")
    desk.world.now_ms += 5_000

    assert await desk.ask("d1") == [*first[:3], 0]  # the last: it is not asked anew
    assert await desk.approvals.pending(desk.keys) == 1
    assert len(await desk.audited()) == 1


async def test_a_retry_with_another_body_can_be_told_by_the_digest(desk: Desk) -> None:
    await desk.ask("d1")

    reply = await desk.ask("d1", digest=b"another")

    assert reply[:2] == [b"held", b"digest"]


async def test_a_retry_after_the_end_gets_what_was_recorded(desk: Desk) -> None:
    await desk.ask("d1")
    await desk.end("d1", "approved")
    stored = await desk.client.hget(desk.keys.decision_prefix + "d1", "b")

    assert await desk.ask("d1") == [b"same", b"digest", stored]


async def test_a_retry_that_another_version_is_sure_of_finds_the_same_approval_too(
    desk: Desk,
) -> None:
    first = await desk.ask("d1")
    sure = desk.new("d1").otherwise

    again = await desk.queue.record(desk.keys, sure, approval_id_of("d1"))
    assert again == [*first[:3], 0]
    assert await desk.recorded("d1") is None
    await desk.end("d1", "approved")
    reply = await desk.queue.record(desk.keys, sure, approval_id_of("d1"))
    assert reply[:2] == [b"same", b"digest"]
    assert await desk.action("d1") == ("b", 0.3, "human")


async def test_a_decision_that_needs_no_person_is_recorded_as_any_other(desk: Desk) -> None:
    await desk.world.decide("d0", episode=("e1", 0))
    new = desk.new("d1", episode=("e1", 1), kept=(b"", b"took a")).otherwise

    assert await desk.queue.record(desk.keys, new, approval_id_of("d1")) == b"new"
    assert await desk.action("d1") == ("a", 1.0, "fallback")
    assert await desk.client.hget(desk.keys.episode_prefix + "e1", "carry") == b"took a"


async def test_with_fallback_the_decision_is_recorded_at_once_and_the_proposal_queued(
    desk: Desk,
) -> None:
    assert await desk.ask("d1", ANSWER) == b"new"

    assert await desk.action("d1") == ("a", 1.0, "fallback")
    assert (await desk.item("d1")).state == "pending"
    assert (await desk.world.counts())["decisions"] == 1


async def test_a_retry_of_what_the_fallback_answered_is_the_same_decision(desk: Desk) -> None:
    await desk.ask("d1", ANSWER)

    reply = await desk.ask("d1", ANSWER)

    assert reply[:2] == [b"same", b"digest"]
    assert await desk.approvals.pending(desk.keys) == 1


@pytest.mark.parametrize("rule", [HOLD, ANSWER])
async def test_beyond_the_bound_the_fallback_answers_and_nothing_is_queued(
    desk: Desk, rule: ApprovalRule
) -> None:
    narrow = rule.model_copy(update={"most_pending": 2})
    for name in ("d1", "d2"):
        await desk.ask(name, narrow)

    assert await desk.ask("d3", narrow) == b"full"

    assert await desk.action("d3") == ("a", 1.0, "fallback")
    assert await desk.approvals.find(desk.keys, approval_id_of("d3")) is None
    assert (await desk.world.counts())["approvals_full"] == 1
    assert (await desk.ask("d1", narrow))[0] in (b"held", b"same")  # a retry is not one more


@pytest.mark.parametrize("rule", [HOLD, ANSWER])
async def test_a_step_that_cannot_be_taken_is_refused_when_it_is_asked(
    desk: Desk, rule: ApprovalRule
) -> None:
    await desk.world.decide("d0", episode=("e1", 0))

    assert await desk.ask("d1", rule, episode=("e1", 0)) == [b"step_taken", b"d0"]
    await desk.world.seal("e1", "terminated")
    assert await desk.ask("d2", rule, episode=("e1", 1)) == [b"sealed"]
    assert await desk.approvals.pending(desk.keys) == 0


# -- ending -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "acted"),
    [
        ("approved", ("b", 0.3, "human")),
        ("rejected", ("a", 1.0, "fallback")),
        ("expired", ("a", 1.0, "fallback")),
    ],
)
async def test_what_acts_is_recorded_with_its_own_propensity(
    desk: Desk, verdict: logic.Verdict, acted: tuple[str, float, str]
) -> None:
    await desk.ask("d1")
    desk.world.now_ms += 60_000 if verdict == "expired" else 1_000

    assert await desk.end("d1", verdict) == Outcome("done", verdict)

    assert await desk.action("d1") == acted
    assert await desk.world.state("d1") == "open"
    assert await desk.approvals.pending(desk.keys) == 0
    assert (await desk.world.counts())["decisions"] == 1


async def test_the_reward_window_begins_with_the_answer_of_the_person(desk: Desk) -> None:
    await desk.ask("d1")
    desk.world.now_ms += 30_000
    await desk.end("d1", "approved")

    record = await desk.recorded("d1")
    assert record is not None
    due_ms = START_MS + 30_000 + 60_000
    assert (record.made_ms, record.deadline_ms) == (START_MS + 30_000, due_ms)
    assert msgspec.json.decode(record.response)["reward_deadline"] == rfc3339(due_ms)
    assert await desk.client.zscore(desk.keys.due, "d1") == due_ms


async def test_a_decision_that_a_person_approved_is_rewarded_and_joined(desk: Desk) -> None:
    await desk.ask("d1")
    await desk.end("d1", "approved")

    assert await desk.world.reward("d1", 2.0) == "joined"
    assert await desk.world.join(desk.world.deadline_ms) == 1

    [transition] = await desk.world.transitions()
    assert (transition.action, transition.reward) == (1, 2.0)
    assert transition.propensity == pytest.approx(0.3)


async def test_a_reward_that_came_while_it_was_held_counts(desk: Desk) -> None:
    await desk.ask("d1")
    assert await desk.world.reward("d1", 2.0, final=True) == "pending_decision"

    await desk.end("d1", "approved")

    assert await desk.world.join() == 1
    [transition] = await desk.world.transitions()
    assert transition.reward == 2.0


async def test_what_the_fallback_answered_stays_whatever_the_person_says(desk: Desk) -> None:
    await desk.ask("d1", ANSWER)

    assert await desk.end("d1", "approved") == DONE_APPROVED

    assert await desk.action("d1") == ("a", 1.0, "fallback")
    assert len(await desk.logged("decision")) == 1


async def test_after_the_deadline_only_the_deadline_ends_it(desk: Desk) -> None:
    await desk.ask("d1")
    desk.world.now_ms += 60_000

    assert await desk.end("d1", "approved") == Outcome("late")
    assert await desk.end("d1", "rejected") == Outcome("late")
    assert await desk.recorded("d1") is None
    assert await desk.end("d1", "expired") == Outcome("done", "expired")
    assert await desk.end("d1", "approved") == Outcome("closed", "expired")


async def test_who_and_why_stand_in_the_audit_and_what_a_person_said_in_the_log(
    desk: Desk,
) -> None:
    await desk.ask("d1")
    await desk.end("d1", "approved", by="ana", why="I know this customer")
    await desk.ask("d2")
    desk.world.now_ms += 60_000
    await desk.end("d2", "expired", by="deadline", why="nobody answered")

    assert await desk.audited() == [
        ("pending", "shop", ""),
        ("approved", "ana", "I know this customer"),
        ("pending", "shop", ""),
        ("expired", "deadline", "nobody answered"),
    ]
    [event] = [msgspec.json.decode(body) for body in await desk.logged("approval")]
    assert (event["what"], event["who"]) == ("approval_approved", "ana")
    assert event["detail"]["decision_id"] == "d1"


async def test_of_many_who_answer_at_once_exactly_one_wins(desk: Desk) -> None:
    await desk.ask("d1")

    outcomes = await asyncio.gather(
        *(
            desk.end("d1", verdict, by=f"{verdict}-{n}")
            for n, verdict in itertools.product(range(10), VERDICTS)
        )
    )

    [winner] = [outcome for outcome in outcomes if outcome.word == "done"]
    assert {o for o in outcomes if o.word != "done"} == {Outcome("closed", winner.state)}
    assert (await desk.item("d1")).state == winner.state
    acted = await desk.action("d1")
    assert acted is not None
    assert (acted[0] == "b") == (winner.state == "approved")
    assert len(await desk.logged("decision")) == 1


async def test_an_approval_whose_episode_ended_meanwhile_is_void(desk: Desk) -> None:
    await desk.world.decide("d0", episode=("e1", 0))
    await desk.ask("d1", episode=("e1", 1))
    await desk.world.seal("e1", "terminated")

    assert await desk.end("d1", "approved") == Outcome("done", "void")

    assert await desk.recorded("d1") is None
    assert (await desk.audited())[-1][0] == "void"
    assert await desk.ask("d1", episode=("e1", 1)) == [b"sealed"]


async def test_an_approval_of_a_decision_that_was_recorded_another_way_is_void(desk: Desk) -> None:
    await desk.ask("d1")
    await desk.world.decide("d1", action="a")

    assert await desk.end("d1", "approved") == Outcome("done", "void")

    assert len(await desk.logged("decision")) == 1


async def test_the_episode_remembers_what_really_acted(desk: Desk) -> None:
    await desk.world.decide("d0", episode=("e1", 0))
    taken: dict[logic.Verdict, bytes] = {"approved": b"took b", "rejected": b"took a"}
    for step, (verdict, carry) in enumerate(taken.items(), 1):
        await desk.ask(f"d{step}", episode=("e1", step), kept=(b"took b", b"took a"))
        await desk.end(f"d{step}", verdict)
        assert await desk.client.hget(desk.keys.episode_prefix + "e1", "carry") == carry


async def test_an_ended_approval_is_forgotten_after_a_while_and_an_open_one_is_not(
    desk: Desk,
) -> None:
    for name, rule in (("d1", HOLD), ("d2", ANSWER), ("d3", HOLD)):
        await desk.ask(name, rule)
    desk.world.now_ms += 60_000
    for name in ("d1", "d2"):
        await desk.end(name, "expired")

    prefix = ApprovalKeys(desk.keys).item_prefix
    lives_ms = [await desk.client.pttl(prefix + approval_id_of(d)) for d in ("d1", "d2", "d3")]
    assert 86_000_000 < lives_ms[0] <= 86_400_000  # the policy's retention
    assert 0 < lives_ms[1] <= 60_000  # nobody waited for it, and nobody looked
    assert lives_ms[2] == -1


async def test_lists_tell_what_waits_most_urgent_first_and_what_ended_newest_first(
    desk: Desk,
) -> None:
    for name in ("d1", "d2", "d3", "d4"):
        await desk.ask(name)
        desk.world.now_ms += 1_000
    await desk.end("d2", "rejected")
    desk.world.now_ms += 1_000
    await desk.end("d3", "rejected")

    async def listed(state: str) -> list[str]:
        found = await desk.approvals.newest(desk.keys, state, 10)  # type: ignore[arg-type]
        return [item.asked.decision_id for item in found]

    assert await listed("pending") == ["d1", "d4"]
    assert await listed("rejected") == ["d3", "d2"]
    assert await listed("approved") == []


async def test_another_policys_approvals_are_other_approvals(desk: Desk) -> None:
    await desk.ask("d1")

    assert await desk.approvals.find(PolicyKeys("other"), approval_id_of("d1")) is None


@pytest.mark.parametrize("rule", [HOLD, ANSWER])
async def test_a_question_that_is_delivered_again_changes_nothing(
    desk: Desk, rule: ApprovalRule
) -> None:
    """What Redis did not confirm is sent again, perhaps after somebody answered."""
    new = desk.new("d1", rule)
    await desk.queue.ask(desk.keys, new)
    await desk.queue.ask(desk.keys, new)
    await desk.end("d1", "rejected")
    before = await desk.world.dump()

    reply = await desk.queue.ask(desk.keys, new)

    assert reply[0] == b"same"
    assert await desk.world.dump() == before


# -- what is shown ------------------------------------------------------------------------------


async def test_a_view_shows_the_question_both_answers_and_the_end(desk: Desk) -> None:
    await desk.ask("d1")
    await desk.end("d1", "approved", by="ana", why="fine")
    record = await read_record(desk.client, desk.keys, "d1")

    seen = msgspec.json.decode(msgspec.json.encode(view("home", await desk.item("d1"), record)))

    assert seen["request"]["observation"] == {"vector": [1.0, 2.0]}
    assert seen["proposed"]["action"]["id"] == "b"
    assert seen["otherwise"]["action"]["id"] == "a"
    assert seen["response"]["reason"] == "human"
    assert (seen["state"], seen["by"], seen["why"]) == ("approved", "ana", "fine")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["approved", "rejected", "expired"]), st.integers(0, 120_000)),
        min_size=1,
        max_size=5,
    )
)
async def test_whatever_is_tried_in_whatever_order_a_held_decision_is_recorded_at_most_once(
    desk: Desk, tries: list[tuple[str, int]]
) -> None:
    name = f"d{len(await desk.logged('decision'))}-{await desk.approvals.pending(desk.keys)}"
    before = len(await desk.logged("decision"))
    await desk.ask(name)
    item, asked_ms = await desk.item(name), desk.world.now_ms
    won = []
    for verdict, after_ms in tries:
        if verdict == "expired" and after_ms < 60_000:
            continue  # the worker only ends what is due
        ending = resolution(
            desk.world.config,
            item,
            verdict,  # type: ignore[arg-type]
            who="ana",
            why="so",
            at_ms=asked_ms + after_ms,
        )
        outcome = await desk.approvals.resolve(desk.keys, item, ending)
        won += [verdict] if outcome.word == "done" else []
        assert not (verdict != "expired" and after_ms >= 60_000 and outcome.word == "done")

    assert len(won) <= 1
    assert len(await desk.logged("decision")) == before + len(won)
