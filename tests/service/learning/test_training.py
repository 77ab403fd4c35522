"""Training is a function of the stream: cuts, checkpoints and restarts change no bit of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.errors import SnapshotError
from agent_core.snapshot import TrainingCheckpoint
from agent_core.types import ActionSet, Transition
from service.learning.training import PolicyTraining, Progress, checkpoint_folder, examine
from service.policies.config import PolicyConfig, parse_policy
from service.replay.codec import encode_transition
from service.replay.repository import Block
from tests.support.learners import fingerprint, made_up
from tests.support.policies import bandit, featured, sequential, steering, with_agent
from tests.support.training import CPU

COUNT = 90  # more than the schedule's 64 transitions of warm-up
NOBODY: frozenset[int] = frozenset()
ONE_BY_ONE: dict[str, Any] = {"updates_at_once": 1}


class Entry(NamedTuple):
    id: str
    data: bytes


def entries(config: PolicyConfig, count: int = COUNT) -> list[Entry]:
    schema = config.transition_schema
    bodies = [encode_transition(one, schema) for one in made_up(count, 0, config.agent.spec)]
    return [Entry(f"{at + 1}-0", body) for at, body in enumerate(bodies)]


def block(some: Sequence[Entry], appended: int = COUNT, trimmed: int = 0) -> Block:
    return Block([one.id for one in some], [one.data for one in some], appended, trimmed)


def all_of(training: PolicyTraining, folder: Path) -> str:
    """Names every bit."""
    training.save(folder, 0, "now")
    checkpoint = TrainingCheckpoint.load_latest(folder)
    assert checkpoint is not None
    return fingerprint(checkpoint.state)


def in_one_go(config: PolicyConfig, count: int = COUNT) -> PolicyTraining:
    training = PolicyTraining(config, CPU)
    training.take(block(entries(config, count)), NOBODY)
    return training


REMEMBERING = with_agent(sequential("remembering"), history={"kind": "gru", "window": 3})


@pytest.mark.parametrize(
    "document",
    [bandit(), featured(), sequential(), REMEMBERING, steering()],
    ids=lambda document: document["policy"],
)
@settings(max_examples=5)
@given(cuts=st.lists(st.integers(0, COUNT), max_size=5), crashes=st.booleans())
def test_neither_cuts_nor_restarts_change_a_bit(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    cuts: list[int],
    crashes: bool,
) -> None:
    config, folder = parse_policy(document), tmp_path_factory.mktemp("checkpoints")
    stream, training, at = entries(config), PolicyTraining(config, CPU), 0
    for cut in [*sorted(cuts), COUNT]:
        training.take(block(stream[at:cut]), NOBODY)
        training.description(1, 0, "")
        at = cut
        if crashes:
            training.save(folder / "kept", 0, "now")
            training = PolicyTraining.resume(config, CPU, folder / "kept")

    assert all_of(training, folder / "end") == all_of(in_one_go(config), folder / "calm")


def test_a_checkpoint_says_where_the_training_stands(tmp_path: Path) -> None:
    config = parse_policy(bandit())
    in_one_go(config, 10).save(tmp_path, 4, "now")

    training = PolicyTraining.resume(config, CPU, tmp_path)

    assert training.progress == Progress(position="10-0", offset=10, first="1-0", last="10-0")
    assert training.experience == 10


def test_without_a_checkpoint_training_begins(tmp_path: Path) -> None:
    training = PolicyTraining.resume(parse_policy(bandit()), CPU, tmp_path / "none")

    assert training.progress == Progress()


def test_a_damaged_checkpoint_is_refused_for_the_one_before(tmp_path: Path) -> None:
    config = parse_policy(bandit())
    training = in_one_go(config, 10)
    training.save(tmp_path, 1, "now")
    training.take(block([Entry("11-0", b"")]), NOBODY)
    training.save(tmp_path, 1, "now")
    newest = max(tmp_path.glob("checkpoint-*")) / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])

    assert PolicyTraining.resume(config, CPU, tmp_path).progress.position == "10-0"


def test_a_checkpoint_of_another_structure_is_refused(tmp_path: Path) -> None:
    in_one_go(parse_policy(bandit()), 10).save(tmp_path, 1, "now")

    with pytest.raises(SnapshotError) as refusal:
        PolicyTraining.resume(parse_policy(sequential()), CPU, tmp_path)

    assert refusal.value.reason == "schema"


def test_models_that_do_not_fit_each_other_keep_their_checkpoints_apart(tmp_path: Path) -> None:
    config = parse_policy(bandit())
    greedier = with_agent(bandit(), exploration={"kind": "epsilon_greedy", "epsilon": 0.1})
    flatter = with_agent(bandit(), policy_learner={"kind": "linear", "interactions": False})

    folder = checkpoint_folder(tmp_path, config, 1)

    assert folder == checkpoint_folder(tmp_path, parse_policy(greedier), 1)
    assert folder != checkpoint_folder(tmp_path, config, 2)
    assert folder != checkpoint_folder(tmp_path, parse_policy(flatter), 1)


def test_a_busier_schedule_asks_for_no_updates_on_account_of_the_past() -> None:
    """With one update per transition after 64, 90 transitions make 26. With ten, the next one brings 10,
    not 10 * 27 - 26 = 244."""
    training = in_one_go(parse_policy(with_agent(sequential(), schedule=ONE_BY_ONE)))
    schedule = ONE_BY_ONE | {"updates_per_transition": 10}
    busier = parse_policy(with_agent(sequential(), schedule=schedule))

    training = training.reconfigured(busier)
    training.take(block([Entry("91-0", entries(busier, 1)[0].data)], 91), NOBODY)

    assert training.updates == 26 + 10


# -- gaps -------------------------------------------------------------------------------------------


def test_who_begins_has_missed_nothing() -> None:
    config = parse_policy(bandit())
    training = PolicyTraining(config, CPU)

    missed = training.take(block(entries(config)[50:60], appended=90, trimmed=50), NOBODY)

    assert missed == 0
    assert training.progress.offset == 60


def test_what_was_trimmed_behind_the_position_is_no_gap() -> None:
    config = parse_policy(bandit())
    training, stream = PolicyTraining(config, CPU), entries(config)
    training.take(block(stream[:10]), NOBODY)

    assert training.take(block(stream[10:20], trimmed=10), NOBODY) == 0
    assert training.progress.missed == 0


def test_what_was_trimmed_beyond_the_position_is_missed() -> None:
    """10 read, 25 gone: 15 were missed, and the next block begins with the 26th."""
    config = parse_policy(bandit())
    training, stream = PolicyTraining(config, CPU), entries(config)
    training.take(block(stream[:10]), NOBODY)

    missed = training.take(block(stream[25:30], trimmed=25), NOBODY)

    assert missed == training.progress.missed == 15
    assert training.progress.offset == 30
    assert training.take(block(stream[30:31], trimmed=25), NOBODY) == 0


def test_a_redis_that_lost_entries_makes_no_gap_later() -> None:
    """After a failover it knows of 8 where 10 were read; then 2 more come and nothing is trimmed."""
    config = parse_policy(bandit())
    training, stream = PolicyTraining(config, CPU), entries(config)
    training.take(block(stream[:10], appended=10), NOBODY)

    training.take(block([], appended=8), NOBODY)
    training.take(block(stream[10:12], appended=10), NOBODY)

    assert (training.progress.offset, training.progress.missed) == (10, 0)


# -- what may teach ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "schema", "reason"),
    [
        ({}, "fs:other", "schema"),
        ({"reward": float("inf")}, None, "non_finite"),
        ({"propensity": 0.0}, None, "corrupt"),
        ({"model_version": 7}, None, "quarantined"),
    ],
)
def test_an_entry_is_refused_by_reason(
    changes: dict[str, Any], schema: str | None, reason: str
) -> None:
    config = parse_policy(bandit())
    [good] = made_up(1, 0, config.agent.spec)
    body = encode_transition(replace(good, **changes), schema or config.transition_schema)

    found = examine([body], config, frozenset({7}))

    assert found.refused == {0: reason}
    assert len(found.transitions) == 0


def test_an_entry_of_other_sizes_under_the_same_schema_is_corrupt() -> None:
    config = parse_policy(bandit())
    [good] = made_up(1, 0, config.agent.spec)
    wide = np.zeros(config.agent.spec.state_dim + 1, np.float32)
    table = ActionSet(("a",), np.zeros((1, config.agent.spec.action_dim + 1), np.float32))
    odd = [
        replace(good, state=wide),
        replace(good, next_state=wide),
        replace(good, state=wide, next_state=wide),
        replace(good, actions=table, action=0, next_actions=None),
    ]

    found = examine([encoded(config, one) for one in (*odd, good)], config, NOBODY)

    assert found.refused == dict.fromkeys(range(4), "corrupt")
    assert found.good.tolist() == [4]


def encoded(config: PolicyConfig, transition: Transition) -> bytes:
    return encode_transition(transition, config.transition_schema)


@given(bad=st.sets(st.integers(0, 19)), cut=st.integers(0, 20))
def test_each_bad_entry_costs_one_transition_and_is_counted_wherever_a_block_is_cut(
    bad: set[int], cut: int
) -> None:
    config = parse_policy(bandit())
    stream = [
        one._replace(data=one.data[:-1]) if at in bad else one
        for at, one in enumerate(entries(config, 20))
    ]
    training = PolicyTraining(config, CPU)

    training.take(block(stream[:cut]), NOBODY)
    training.take(block(stream[cut:]), NOBODY)

    assert training.experience == 20 - len(bad)
    assert training.progress.skipped == ({"corrupt": len(bad)} if bad else {})
    good = [one.id for at, one in enumerate(stream) if at not in bad]
    assert (training.progress.first, training.progress.last) == (
        (good or [""])[0],
        (good or [""])[-1],
    )


# -- what is published ------------------------------------------------------------------------------


def test_weights_that_are_no_numbers_are_noticed() -> None:
    training = in_one_go(parse_policy(sequential()))
    assert training.is_finite()

    with torch.no_grad():
        next(iter(training.policy.parameters()))[0] = float("nan")

    assert not training.is_finite()


def test_a_version_tells_its_data_range_and_the_means_since_the_one_before() -> None:
    training = in_one_go(parse_policy(with_agent(sequential(), schedule=ONE_BY_ONE)))

    first = training.description(2, 1, "now")
    again = training.description(3, 2, "now")

    assert (first.first, first.last, first.experience, first.updates) == ("1-0", "90-0", 90, 26)
    assert first.metrics
    assert again.metrics == {}
    assert msgspec.json.decode(msgspec.json.encode(first), type=type(first)) == first
