"""/v1/approvals over the whole application and a real Redis."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.approvals.logic import approval_id_of, held_answer
from service.approvals.promotions import Promotions
from service.approvals.rule import ApprovalRule
from service.clock import now_ms
from tests.service.approvals.desk import ANSWER, Desk, open_desk
from tests.support.api import running_api, settings_for

KEYS = {
    "shop": {"scopes": ["act", "observe"], "policies": ["home"]},
    "ana": {"scopes": ["observe", "approve"]},
    "ben": {"scopes": ["observe", "approve"]},
    "far": {"scopes": ["observe", "approve"], "policies": ["other"]},
    "both": {"scopes": ["act", "observe", "approve"]},
}


class Office:
    """The application with keys, beside a desk that asks as /act does."""

    def __init__(self, http: httpx.AsyncClient, desk: Desk, artefacts: Path) -> None:
        self.http = http
        self.desk = desk
        self.artefacts = artefacts

    async def get(self, path: str, who: str = "ana", **query: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {who}"}
        return await self.http.get(f"/v1/approvals{path}", headers=headers, params=query)

    async def say(
        self, verdict: str, approval_id: str, who: str = "ana", **body: Any
    ) -> httpx.Response:
        return await self.http.post(
            f"/v1/approvals/home/{approval_id}/{verdict}",
            headers={"authorization": f"Bearer {who}"},
            json=body or {"why": "looks right"},
        )

    async def ask(self, decision_id: str = "d1", ago_ms: int = 0, **about: Any) -> str:
        """The id of the approval of a decision that was asked about just now."""
        self.desk.world.now_ms = now_ms() - ago_ms
        await self.desk.ask(decision_id, **about)
        return approval_id_of(decision_id)

    async def promotion(self) -> str:
        """The id of the approval of version 7, which ana asked for."""
        folder = self.artefacts / "home" / "7"
        folder.mkdir(parents=True)
        (folder / "tensors").write_bytes(b"weights")
        promotions = Promotions(self.desk.client, self.artefacts)
        rule = ApprovalRule(promotions=True)
        item = await promotions.ask(
            self.desk.keys, rule, 7, who="ana", why="better", evidence={"lower_bound": 0.3}
        )
        return item.approval_id


@pytest.fixture
async def office(redis_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **rights}
        for name, rights in KEYS.items()
    ]
    settings = settings_for(redis_url, tmp_path, api_keys=json.dumps(keys))
    async with open_desk(redis_url) as desk, running_api(settings) as http:
        yield Office(http, desk, settings.artefacts)


async def test_what_waits_is_listed_without_what_only_one_is_asked_for(office: Office) -> None:
    first, second = await office.ask("d1"), await office.ask("d2")
    await office.say("reject", second)

    listed = (await office.get("", policy="home")).json()

    assert listed["pending"] == 1
    [one] = listed["approvals"]
    assert (one["approval_id"], one["state"], one["decision_id"]) == (first, "pending", "d1")
    assert (one["requester"], one["causes"], one["is_held"]) == ("shop", ["least_confidence"], True)
    assert "request" not in one
    assert (await office.get("")).json() == listed
    rejected = (await office.get("", state="rejected")).json()["approvals"]
    assert [one["approval_id"] for one in rejected] == [second]


async def test_one_shows_the_request_and_both_answers(office: Office) -> None:
    approval_id = await office.ask()

    one = (await office.get(f"/home/{approval_id}", "shop")).json()

    assert one["request"]["observation"] == {"vector": [1.0, 2.0]}
    assert one["proposed"]["action"]["id"] == "b"
    assert one["otherwise"]["action"]["id"] == "a"
    assert "response" not in one


@pytest.mark.parametrize(
    ("verdict", "state", "reason"),
    [("approve", "approved", "human"), ("reject", "rejected", "fallback")],
)
async def test_a_person_answers_and_the_decision_is_there(
    office: Office, verdict: str, state: str, reason: str
) -> None:
    approval_id = await office.ask()

    answer = await office.say(verdict, approval_id, why="I know this customer")

    assert answer.status_code == 200, answer.text
    one = answer.json()
    assert (one["state"], one["by"], one["why"]) == (state, "ana", "I know this customer")
    assert one["response"]["reason"] == reason
    assert (await office.get(f"/home/{approval_id}")).json() == one


async def test_what_the_fallback_answered_is_shown_with_the_approval(office: Office) -> None:
    approval_id = await office.ask(rule=ANSWER)

    one = (await office.get(f"/home/{approval_id}")).json()

    assert (one["state"], one["response"]["reason"]) == ("pending", "fallback")
    assert "is_held" not in one


async def test_who_asked_may_not_approve_but_may_take_it_back(office: Office) -> None:
    approval_id = await office.ask(requester="both")

    own = await office.say("approve", approval_id, "both")

    assert (own.status_code, own.json()["code"]) == (403, "OwnRequest")
    assert (await office.say("reject", approval_id, "both")).json()["state"] == "rejected"


async def test_the_second_answer_is_refused_and_a_repeated_one_is_not(office: Office) -> None:
    approval_id = await office.ask()
    first = await office.say("approve", approval_id)

    other = await office.say("approve", approval_id, "ben")
    opposite = await office.say("reject", approval_id)
    repeated = await office.say("approve", approval_id)

    assert (other.status_code, other.json()["code"]) == (409, "ApprovalDecided")
    assert (opposite.status_code, opposite.json()["code"]) == (409, "ApprovalDecided")
    assert repeated.json() == first.json()


async def test_of_two_who_answer_at_once_one_wins(office: Office) -> None:
    for number in range(5):
        approval_id = await office.ask(f"d{number}")

        answers = await asyncio.gather(
            office.say("approve", approval_id, "ana"), office.say("reject", approval_id, "ben")
        )

        assert sorted(answer.status_code for answer in answers) == [200, 409]
        [won] = [answer.json() for answer in answers if answer.status_code == 200]
        acted = await office.desk.action(f"d{number}")
        assert acted is not None
        assert acted[2] == {"approved": "human", "rejected": "fallback"}[won["state"]]


async def test_after_the_deadline_it_is_too_late(office: Office) -> None:
    approval_id = await office.ask(ago_ms=61_000)

    for verdict in ("approve", "reject"):
        answer = await office.say(verdict, approval_id)
        assert (answer.status_code, answer.json()["code"]) == (409, "ApprovalExpired")
    await office.desk.end("d1", "expired")
    office.desk.world.now_ms = now_ms()
    await office.desk.end("d1", "expired")
    late = await office.say("approve", approval_id)
    assert (late.status_code, late.json()["code"]) == (409, "ApprovalExpired")


async def test_who_waits_is_answered_as_soon_as_a_person_was(office: Office) -> None:
    approval_id = await office.ask()
    waiting = asyncio.create_task(office.get(f"/home/{approval_id}", "shop", wait_s=20))
    await asyncio.sleep(0)

    await office.say("approve", approval_id)

    async with asyncio.timeout(5):
        assert (await waiting).json()["state"] == "approved"


async def test_who_waits_too_long_is_told_that_it_is_open_still(office: Office) -> None:
    approval_id = await office.ask()

    waited = await office.get(f"/home/{approval_id}", wait_s=0.05)

    assert (waited.status_code, waited.json()["state"]) == (200, "pending")


async def test_a_promotion_is_approved_by_somebody_else_with_its_evidence(office: Office) -> None:
    approval_id = await office.promotion()

    assert (await office.say("approve", approval_id, "ana")).status_code == 403
    one = (await office.say("approve", approval_id, "ben")).json()

    assert (one["kind"], one["state"], one["model_version"]) == ("promotion", "approved", "home@7")
    assert (one["evidence"], one["reason"]) == ({"lower_bound": 0.3}, "better")
    assert len(one["sha256"]) == 64


async def test_a_promotion_whose_snapshot_changed_cannot_be_approved(office: Office) -> None:
    approval_id = await office.promotion()
    (office.artefacts / "home" / "7" / "tensors").write_bytes(b"others")

    answer = await office.say("approve", approval_id, "ben")

    assert (answer.status_code, answer.json()["code"]) == (409, "ApprovalVoid")
    assert (await office.get(f"/home/{approval_id}")).json()["state"] == "void"
    again = await office.say("approve", approval_id, "ben")
    assert (again.status_code, again.json()["code"]) == (409, "ApprovalVoid")


async def test_the_address_in_a_held_answer_is_that_of_the_approval(office: Office) -> None:
    decision_id = "any/id ä"
    await office.ask(decision_id)

    held, location = held_answer("home", decision_id, office.desk.world.deadline_ms)
    one = (await office.get(location.removeprefix("/v1/approvals"))).json()

    assert (one["decision_id"], one["deadline"]) == (decision_id, held.deadline)
    assert (held.state, held.approval_id) == ("held", one["approval_id"])


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"why": ""}, {"why": "x" * 2001}, {"reason": "x"}, {"why": 1}])
async def test_an_answer_needs_a_reason(office: Office, body: dict[str, Any]) -> None:
    approval_id = await office.ask()

    assert (await office.say("approve", approval_id, **body)).status_code == 422
    assert (await office.get(f"/home/{approval_id}")).json()["state"] == "pending"


@pytest.mark.parametrize("wait_s", ["-1", "31", "nan", "inf", "soon"])
async def test_a_wait_is_bounded(office: Office, wait_s: str) -> None:
    answer = await office.get("/home/any", wait_s=wait_s)

    assert answer.status_code == 422
    assert "wait_s" in answer.json()["errors"][0]["pointer"]


async def test_unknown_states_policies_and_approvals_are_refused(office: Office) -> None:
    assert (await office.get("", state="open")).status_code == 422
    assert (await office.get("", policy="nobody")).status_code == 404
    for approval_id in ("nothing", "closed", "%7B%7D"):
        assert (await office.get(f"/home/{approval_id}")).status_code == 404
        assert (await office.say("approve", approval_id)).status_code == 404


async def test_a_key_needs_the_scope_and_the_policy(office: Office) -> None:
    approval_id = await office.ask()

    assert (await office.say("approve", approval_id, "shop")).status_code == 403
    assert (await office.say("approve", approval_id, "nobody")).status_code == 401
    assert (await office.say("approve", approval_id, "far")).status_code == 404
    assert (await office.get(f"/home/{approval_id}", "far")).status_code == 404
    assert (await office.get("", "far")).json() == {"approvals": [], "pending": 0}
    assert (await office.get("", "far", policy="home")).status_code == 404


async def test_without_keys_whoever_reaches_the_port_may_approve(
    redis_url: str, tmp_path: Path
) -> None:
    async with (
        open_desk(redis_url) as desk,
        running_api(settings_for(redis_url, tmp_path)) as http,
    ):
        desk.world.now_ms = now_ms()
        await desk.ask("d1", requester="loopback")
        where = f"/v1/approvals/home/{approval_id_of('d1')}/approve"

        assert (await http.post(where, json={"why": "alone here"})).status_code == 200
