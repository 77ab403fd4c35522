"""What a rollback goes back to: what was live by a promotion, by a rollout or by the learner, and was not left."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from service.policies.repository import PolicyRepository, VersionDescription
from service.policies.schemas import PolicyEvent
from service.repository import PolicyKeys

_KEYS = PolicyKeys("home")
_EVENT = PolicyEvent(what="promote", who="ana", why="", at="")


class Line:
    """The versions of one policy. `head`: the live one, and the one that a rollback would go to."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.policies = PolicyRepository(client)

    async def publish(self, version: int, *, promote: bool = True) -> None:
        description = VersionDescription(
            version=version,
            parent=version - 1,
            made_at="",
            config_hash="",
            feature_schema="",
            experience=0,
            updates=0,
        )
        await self.policies.publish(_KEYS, description, promote=promote)

    async def promote(self, version: int) -> None:
        await self._point(version)

    async def back(self, *, quarantine: bool = False) -> int | None:
        """What is live after one more rollback; None where there is nothing to go back to."""
        reply = await self._point(None, quarantine=quarantine)
        return int(reply[1]) if reply[0] == "ok" else None

    async def _point(self, version: int | None, *, quarantine: bool = False) -> list[str]:
        reply = await self.policies.point(
            _KEYS, version, pin=False, quarantine=quarantine, event=_EVENT
        )
        return list(reply)

    async def head(self) -> tuple[int, int]:
        meta = await self.policies.meta(_KEYS)
        assert meta is not None
        return meta.live, meta.previous


@pytest.fixture
async def line(redis_client: Redis) -> Line:
    """Versions 1, 2 and 3, each live in its turn."""
    made = Line(redis_client)
    await made.policies.put_config(_KEYS, b"{}", "hash", event=_EVENT, new_lineage=True)
    for version in (1, 2, 3):
        await made.publish(version)
    return made


async def test_each_rollback_goes_one_version_farther_back(line: Line) -> None:
    assert await line.head() == (3, 2)

    assert await line.back() == 2
    assert await line.head() == (2, 1)  # not 3, which was left
    assert await line.back() == 1
    assert await line.head() == (1, 0)
    assert await line.back() is None


async def test_a_version_that_is_promoted_after_a_rollback_is_left_for_the_one_before(
    line: Line,
) -> None:
    await line.back()
    await line.publish(4, promote=False)

    await line.promote(4)

    assert [await line.back(), await line.back(), await line.back()] == [2, 1, None]


async def test_what_was_left_may_be_promoted_anew_and_is_then_one_to_go_back_to(
    line: Line,
) -> None:
    await line.back()

    await line.promote(3)
    await line.publish(4)

    assert [await line.back(), await line.back(), await line.back()] == [3, 2, 1]


async def test_a_version_that_was_live_twice_is_not_returned_to_once_it_was_left(
    line: Line,
) -> None:
    await line.promote(1)  # 1, 2, 3, 1

    assert [await line.back(), await line.back(), await line.back()] == [3, 2, None]


async def test_a_version_in_quarantine_is_passed_over(line: Line) -> None:
    await line.back(quarantine=True)  # 3 is
    await line.promote(3)
    await line.publish(4)

    assert await line.back() == 2


async def test_a_version_that_the_registry_has_forgotten_is_passed_over(line: Line) -> None:
    await line.policies.forget(_KEYS, [2])

    assert await line.back() == 1


async def test_a_rollout_that_ends_live_is_gone_back_from_like_any_other(line: Line) -> None:
    await line.publish(4, promote=False)
    await line.policies.change_head(_KEYS, "rollout", b"", b"", event=_EVENT, live=4)

    assert await line.head() == (4, 3)
    assert [await line.back(), await line.back()] == [3, 2]


async def test_to_promote_the_live_version_changes_nothing(line: Line) -> None:
    await line.promote(3)

    assert await line.head() == (3, 2)
    assert [await line.back(), await line.back()] == [2, 1]


async def test_a_head_that_names_only_the_version_before_goes_back_to_that(line: Line) -> None:
    """As heads were written before they kept all of them."""
    await line.client.hdel(_KEYS.meta, "lived")

    assert [await line.back(), await line.back()] == [2, None]


async def test_only_the_newest_are_kept(line: Line) -> None:
    for version in range(4, 40):
        await line.publish(version)

    assert [await line.back() for _ in range(21)] == [*range(38, 18, -1), None]
