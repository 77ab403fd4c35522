"""What is read of the decisions that the service really logs."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
from redis.asyncio import Redis

from service.decisions.records import decode_record
from service.monitoring.rows import CELLS, Sample, Seen, cell_of, choices_of, sample_of
from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.support.log_events import decision
from tests.support.policies import bandit, steering


async def _logged(client: Redis, policy: str) -> Sample:
    entries: Any = await client.xrevrange(PolicyKeys(policy).log, count=1)
    fields = entries[0][1]
    assert fields[b"t"] == b"decision"
    return sample_of(decode_record(fields[b"b"]), 7)


async def test_a_decision_among_actions_is_read_with_its_probabilities(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(bandit())
    asked = {"policy": "home", "observation": {"vector": [0.5, 1]}, "actions": ["a", "b", "c"]}
    answer = (await api.post("/v1/act", json=asked)).json()

    sample = await _logged(redis_client, "home")

    probabilities = np.frombuffer(sample.probabilities, "<f8")
    assert sample.at_ms == 7
    assert sample.arm == "live"
    assert sample.drawn
    assert not sample.is_late
    assert sorted(sample.cells) == sorted(cell_of(one) for one in "abc")
    assert sample.cells[sample.position] == cell_of(answer["action"]["id"])
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(probabilities[sample.position], answer["propensity"], rtol=1e-6)
    assert sample.observation.vector == [0.5, 1]


async def test_a_continuous_decision_has_no_set_to_compare(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(steering())
    asked = {"policy": "steer", "observation": {"vector": [0.5, 1]}}
    await api.post("/v1/act", json=asked)

    sample = await _logged(redis_client, "steer")

    assert sample.position == -1
    assert not sample.drawn
    assert choices_of([Seen(sample, None, True)]) is None


def test_drawn_decisions_become_columns() -> None:
    probabilities = {"x": 0.25, "y": 0.75}
    first = sample_of(decode_record(decision(0, [0.0, 0.0]).body), 0)
    second = sample_of(
        decode_record(decision(1, [0.0, 0.0], probabilities=probabilities, taken="y").body), 1
    )
    skipped = sample_of(decode_record(decision(2, [0.0, 0.0], reason="baseline").body), 2)

    found = choices_of([Seen(one, None, True) for one in (first, second, skipped)])

    assert found is not None
    choices, cells = found
    assert choices.action.tolist() == [0, 1]
    assert choices.propensity.tolist() == [0.5, 0.75]
    assert choices.probability.tolist() == [0.5, 0.5, 0.25, 0.75]
    assert choices.offsets.tolist() == [0, 2, 4]
    assert cells.tolist() == [cell_of(one) for one in "abxy"]


def test_cells_are_bounded_and_the_same_everywhere() -> None:
    cells = {cell_of(f"action-{at}") for at in range(1_000)}

    assert cells == set(range(CELLS))
    # CRC-32 of "123456789" is 0xCBF43926, whose last six bits are 0b100110.
    assert cell_of("123456789") == 0b100110


def test_rows_tell_when_they_were_logged() -> None:
    sample = sample_of(decode_record(decision(5, [0.0, 0.0]).body), 9)

    assert Seen(sample, None, True).at_ms == 9
