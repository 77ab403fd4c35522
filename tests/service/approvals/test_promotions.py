"""A promotion is approved for exact bytes, and used once."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.approvals.logic import resolution
from service.approvals.promotions import Promotions
from service.approvals.rule import ApprovalRule
from service.approvals.schemas import Item
from service.approvals.snapshots import snapshot_sha256
from service.clock import now_ms
from service.errors import ServiceError
from tests.service.approvals.desk import Desk

RULE = ApprovalRule(promotions=True)
EVIDENCE = {"lower_bound": 0.31, "baseline": 0.28}


class Bureau:
    """Promotions of one policy, whose version 7 has a snapshot of two files."""

    def __init__(self, desk: Desk, artefacts: Path) -> None:
        self.desk = desk
        self.folder = artefacts / "home" / "7"
        self.promotions = Promotions(desk.client, artefacts)
        self.folder.mkdir(parents=True)
        for name in ("manifest.json", "tensors.safetensors"):
            (self.folder / name).write_bytes(name.encode())

    async def ask(self, version: int = 7, who: str = "ana") -> Item:
        return await self.promotions.ask(
            self.desk.keys, RULE, version, who=who, why="better clicks", evidence=EVIDENCE
        )

    async def end(self, item: Item, verdict: str = "approved") -> str:
        sha256 = await self.promotions.sha256(self.desk.keys, item.asked.version)
        ending = resolution(
            self.desk.world.config,
            item,
            verdict,  # type: ignore[arg-type]
            who="ben",
            why="ok",
            at_ms=now_ms(),
            sha256=sha256,
        )
        return (await self.desk.approvals.resolve(self.desk.keys, item, ending)).state

    async def use(self, item: Item) -> str:
        try:
            await self.promotions.use(self.desk.keys, item.approval_id, who="ana")
        except ServiceError as error:
            return error.code
        return "used"


@pytest.fixture
def bureau(desk: Desk, tmp_path: Path) -> Bureau:
    return Bureau(desk, tmp_path)


async def test_a_question_carries_who_asks_why_and_the_evidence(bureau: Bureau) -> None:
    item = await bureau.ask()

    assert (item.state, item.asked.kind, item.asked.version) == ("pending", "promotion", 7)
    assert (item.asked.requester, item.asked.reason) == ("ana", "better clicks")
    assert item.asked.evidence == EVIDENCE
    assert item.sha256 == await bureau.promotions.sha256(bureau.desk.keys, 7)


async def test_the_same_question_is_asked_once_while_it_is_open_or_not_used(
    bureau: Bureau,
) -> None:
    first = await bureau.ask()

    assert await bureau.ask(who="carl") == first
    await bureau.end(first)
    assert (await bureau.ask()).state == "approved"
    assert await bureau.use(first) == "used"
    assert (await bureau.ask()).state == "pending"


async def test_what_was_rejected_may_be_asked_again(bureau: Bureau) -> None:
    first = await bureau.ask()
    await bureau.end(first, "rejected")

    assert await bureau.use(first) == "ApprovalDecided"
    assert (await bureau.ask()).state == "pending"


async def test_only_what_was_approved_can_be_used_and_only_once(bureau: Bureau) -> None:
    item = await bureau.ask()

    assert await bureau.use(item) == "ApprovalDecided"
    assert await bureau.end(item) == "approved"
    assert await bureau.use(item) == "used"
    assert await bureau.use(item) == "ApprovalDecided"
    states = [state for state, _, _ in await bureau.desk.audited()]
    assert states == ["pending", "approved", "used"]


async def test_an_approval_is_void_if_the_snapshot_changed_before_it(bureau: Bureau) -> None:
    item = await bureau.ask()
    (bureau.folder / "tensors.safetensors").write_bytes(b"other weights")

    assert await bureau.end(item) == "void"
    assert await bureau.use(item) == "ApprovalVoid"


@pytest.mark.parametrize("damage", ["other bytes", "another file", "gone"])
async def test_an_approval_is_void_if_the_snapshot_changed_before_its_use(
    bureau: Bureau, damage: str
) -> None:
    item = await bureau.ask()
    await bureau.end(item)
    match damage:
        case "other bytes":
            (bureau.folder / "manifest.json").write_bytes(b"{}")
        case "another file":
            (bureau.folder / "more").write_bytes(b"")
        case _:
            for file in bureau.folder.iterdir():
                file.unlink()

    assert await bureau.use(item) == "ApprovalVoid"
    assert (await bureau.promotions.find(bureau.desk.keys, item.approval_id)).state == "void"


async def test_a_version_without_a_snapshot_cannot_be_asked_about(bureau: Bureau) -> None:
    with pytest.raises(ServiceError, match="version 8 has no snapshot"):
        await bureau.ask(8)


async def test_an_unknown_approval_cannot_be_used(bureau: Bureau) -> None:
    with pytest.raises(ServiceError, match="no such approval"):
        await bureau.promotions.use(bureau.desk.keys, "v9-00", who="ana")


async def test_promotions_are_asked_about_however_many_decisions_wait(bureau: Bureau) -> None:
    narrow = ApprovalRule(least_confidence=0.9, otherwise="hold", most_pending=1)
    await bureau.desk.ask("d1", narrow)
    await bureau.desk.ask("d2", narrow)

    assert (await bureau.ask()).state == "pending"


def test_a_name_of_a_snapshot_depends_on_every_byte_and_every_name(tmp_path: Path) -> None:
    def named(version: int, **files: bytes) -> str:
        folder = tmp_path / "home" / str(version)
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return snapshot_sha256(tmp_path, "home", version)

    same = named(1, a=b"1", b=b"2")
    assert same == named(2, b=b"2", a=b"1")
    assert len({same, named(3, a=b"12", b=b""), named(4, a=b"2", b=b"1"), named(5, a=b"1")}) == 4
    assert snapshot_sha256(tmp_path, "home", 6) == ""
