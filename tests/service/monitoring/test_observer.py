"""The worker's monitor of one policy over a real Redis: what it sees does not depend on how fast the log is read."""

from __future__ import annotations

from redis.asyncio import Redis

from tests.support.log_events import outcomes
from tests.support.policies import bandit
from tests.support.watched import Stage

_WINDOW = 30
_BAD, _GOOD = [0.0] * _WINDOW, [0.0, 1.0] * (_WINDOW // 2)


async def test_every_window_of_a_backlog_is_judged_though_it_is_read_in_a_moment(
    redis_client: Redis,
) -> None:
    rule = {"window": _WINDOW, "least": _WINDOW, "kept": 100, "baseline": 0.5}
    stage = Stage(redis_client, bandit(monitoring=rule))
    await stage.register()
    await stage.turn()

    await stage.write(outcomes(_BAD * 2 + _GOOD * 60))
    watched = await stage.watched()
    while await stage.follower.follow(watched, stage.now_ms):
        pass  # four pages, and the clock stands still
    await stage.turn()

    judged = await stage.monitoring.windows(stage.keys, 100)
    assert sum(one.kind == "outcomes" for one in judged) == 62
    reward = [one.level for one in await stage.changes() if one.signal == "reward"]
    assert reward == ["warning", ""]


async def test_a_backlog_is_judged_while_it_is_read(redis_client: Redis) -> None:
    """So that what waits stays small, however long the backlog is."""
    rule = {"window": _WINDOW, "least": _WINDOW, "baseline": 0.5}
    stage = Stage(redis_client, bandit(monitoring=rule))
    await stage.register()
    await stage.turn()

    await stage.write(outcomes(_BAD * 50))
    assert await stage.follower.follow(await stage.watched(), stage.now_ms)
    assert await stage.follower.follow(await stage.watched(), stage.now_ms)

    assert await stage.levels() == {"reward": "warning"}
