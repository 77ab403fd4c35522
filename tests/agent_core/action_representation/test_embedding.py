"""Ids as rows of a learned table."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from agent_core.action_representation.embedding import EmbeddingConfig
from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError
from agent_core.functional.keys import key_of
from agent_core.interfaces import Policy
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import ActionSet, Embedding
from tests.support.transitions import a_transition


def _positions(config: EmbeddingConfig, *ids: str) -> list[float]:
    rows = config.build(0).encode(ids, np.zeros((len(ids), 0), np.float32))
    return list(rows[:, 0].tolist())


def test_listed_ids_have_the_first_rows_in_order() -> None:
    assert _positions(EmbeddingConfig(ids=("a", "b", "c")), "c", "a", "b") == [2, 0, 1]


def test_an_id_that_is_not_listed_has_one_of_the_rows_after_them_by_its_hash() -> None:
    config = EmbeddingConfig(rows=10, ids=("a", "b", "c"))

    assert _positions(config, "new") == [3 + key_of("new") % 7]


def test_no_id_is_beyond_the_last_row_and_every_row_is_used() -> None:
    config = EmbeddingConfig(rows=16, ids=("a",))

    positions = _positions(config, *(f"article-{number}" for number in range(1000)))

    assert set(positions) == set(range(1, 16))


def test_the_largest_table_still_tells_its_last_rows_apart() -> None:
    rows = EmbeddingConfig(rows=2**24, ids=("a",)).rows

    assert np.float32(rows - 1) != np.float32(rows - 2)
    with pytest.raises(ValidationError, match="16777216"):
        EmbeddingConfig(rows=2**24 + 1)


def test_features_follow_the_position() -> None:
    representation = EmbeddingConfig(ids=("a", "b")).build(2)

    encoded = representation.encode(("b", "a"), np.array([[0.5, -1], [2, 3]], np.float32))

    assert representation.dim == 3
    assert encoded.tolist() == [[1, 0.5, -1], [0, 2, 3]]


def test_networks_are_told_of_the_table() -> None:
    assert EmbeddingConfig(rows=20, dim=3).embedding() == Embedding(20, 3)


def test_a_table_without_a_row_for_other_ids_is_refused() -> None:
    with pytest.raises(ValidationError, match="raise `rows`"):
        EmbeddingConfig(rows=2, ids=("a", "b"))


def test_a_learner_that_trains_no_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs 'gradient'"):
        parse_agent_config(
            {
                "observation": {"kind": "vector", "dim": 1},
                "action_representation": {"kind": "embedding"},
                "policy_learner": {"kind": "linear"},
                "exploration": {"kind": "none"},
            }
        )


def test_what_is_learned_about_one_id_says_little_about_another() -> None:
    config = parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 1},
            "action_representation": {"kind": "embedding", "rows": 64, "dim": 4},
            "policy_learner": {"kind": "neural", "hidden": [16], "learning_rate": 0.02},
            "exploration": {"kind": "none"},
            "replay": {"kind": "fifo"},
            "schedule": {"warmup_transitions": 1, "batch_size": 16},
        }
    )
    learner = AgentLearner(config.policy_learner, config.replay, config.schedule, config.spec)
    ids = ("good", "bad")
    actions = ActionSet(ids, config.representation().encode(ids, np.zeros((2, 0), np.float32)))
    state = np.zeros(1, np.float32)

    learner.learn(
        [
            a_transition(state=state, actions=actions, action=i % 2, reward=1 - i % 2)
            for i in range(64)
        ]
    )
    learner.extra_updates(150)

    assert isinstance(learner.policy, Policy)
    scorer = learner.policy.scorer()
    value = scorer.value(state, scorer.prepare(actions.features))
    assert value == pytest.approx([1, 0], abs=0.05)
