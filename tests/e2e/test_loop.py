"""The whole loop over HTTP: decide, reward, join, learn, publish, swap, decide better."""

from __future__ import annotations

import time

import pytest

from nacre_client import Client
from tests.support.access import KEYS
from tests.support.deployment import Deployment, total
from tests.support.policies import bandit, with_agent
from tests.support.processes import wait_until

pytestmark = pytest.mark.faults


def test_a_decision_ends_as_part_of_the_version_that_decides_next(stack: Deployment) -> None:
    greedy = with_agent(bandit("loop"), exploration={"kind": "epsilon_greedy", "epsilon": 0.1})
    with Client(stack.url, api_key=KEYS["admin"], policy="loop") as client:
        client.put_policy(greedy)
        first = client.act([1.0, 0.0], ["a", "b", "c"])
        for _ in range(60):
            decision = client.act([1.0, 0.0], ["a", "b", "c"])
            client.observe(
                decision.decision_id, 1.0 if decision.action.id == "b" else 0.0, final=True
            )
        client.observe(first.decision_id, 0.0, final=True)

        wait_until(
            lambda: bool(client.decision(first.decision_id).learned_by),
            what="the first decision to be learned from",
        )
        learned_by = client.decision(first.decision_id).learned_by[0]
        wait_until(
            lambda: _number(client.act([1.0, 0.0], ["a", "b", "c"]).model_version)
            >= _number(learned_by),
            what="the version that learned to decide",
        )
        wait_until(
            lambda: client.get_policy().counts["pending"] == stack.counts("loop")["pending"],
            what="the account",
        )
        best = client.act([1.0, 0.0], ["a", "b", "c"], explore=False)

    counts = stack.counts("loop")
    assert _number(first.model_version) == 1 < _number(learned_by)
    assert best.action.id == "b"
    assert counts["decisions"] == total(counts)
    assert counts["rewarded"] == 61


def _number(label: str) -> int:
    return int(label.rpartition("@")[2])
