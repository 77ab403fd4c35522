"""The whole loop over HTTP: decide, reward, join, learn, publish, swap, decide better."""

from __future__ import annotations

import pytest
from nacre_client import Client

from tests.support.access import KEYS
from tests.support.deployment import Deployment, total
from tests.support.policies import bandit, with_agent
from tests.support.processes import wait_until

pytestmark = pytest.mark.faults

SEEN = [1.0, 0.0]
ACTIONS = ["a", "b", "c"]


def test_a_decision_ends_as_part_of_the_version_that_decides_next(stack: Deployment) -> None:
    with Client(stack.url, api_key=KEYS["admin"], policy="loop") as client:
        exploration = {"kind": "epsilon_greedy", "epsilon": 0.5}
        client.put_policy(with_agent(bandit("loop"), exploration=exploration))
        first = client.act(SEEN, ACTIONS)
        for _ in range(60):
            decision = client.act(SEEN, ACTIONS)
            reward = 1.0 if decision.action.id == "b" else 0.0
            client.observe(decision.decision_id, reward, final=True)
        client.observe(
            first.decision_id, 0.0, final=True
        )  # joined, and so learned, after the others

        wait_until(
            lambda: bool(client.decision(first.decision_id).learned_by),
            what="the first decision to be learned from",
        )
        life = client.decision(first.decision_id)
        wait_until(
            lambda: _number(client.act(SEEN, ACTIONS).model_version) >= _number(life.learned_by[0]),
            what="the version that learned to decide",
        )
        best = client.act(SEEN, ACTIONS, explore=False)

    counts = stack.counts("loop")
    assert life.state == "rewarded"
    assert _number(first.model_version) == 1 < _number(life.learned_by[0])
    assert best.action.id == "b"
    assert counts["decisions"] == total(counts)
    assert counts["rewarded"] == 61


def _number(label: str) -> int:
    return int(label.rpartition("@")[2])
