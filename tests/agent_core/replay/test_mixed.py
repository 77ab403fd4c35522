"""Logged and own data: how much of each is drawn, and that neither displaces the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from agent_core.replay.mixed import MixedConfig, MixedReplay
from agent_core.training.collate import block_of
from agent_core.types import Transition
from tests.support.learners import SPEC, fingerprint, made_up


def _own(count: int) -> list[Transition]:
    """With positive rewards."""
    return [replace(t, reward=1.0 + n) for n, t in enumerate(made_up(count))]


def _logged(count: int) -> list[Transition]:
    """With negative rewards."""
    return [replace(t, reward=-1.0 - n, model_version=0) for n, t in enumerate(made_up(count, 1))]


def _replay(transitions: Iterable[Transition], **options: Any) -> MixedReplay:
    fields = {"capacity": 10, "logged_capacity": 10, **options}
    replay = MixedConfig(**fields).build(SPEC, torch.device("cpu"))
    replay.extend(block_of(list(transitions), SPEC))
    return replay


def _logged_share(replay: MixedReplay, size: int = 64) -> float:
    rewards = replay.sample(size, torch.Generator().manual_seed(0)).reward
    return float((rewards < 0).double().mean())


@pytest.mark.parametrize("own", [1, 5, 100])
def test_half_of_each_batch_is_logged_however_much_there_is_of_our_own(own: int) -> None:
    assert _logged_share(_replay([*_logged(8), *_own(own)])) == 0.5


def test_the_share_is_as_configured_and_rounded_towards_our_own() -> None:
    transitions = [*_logged(8), *_own(8)]

    assert _logged_share(_replay(transitions, logged_share=0.25)) == 0.25
    assert _logged_share(_replay(transitions), size=3) == 1 / 3
    assert _logged_share(_replay(transitions), size=1) == 0.0


_FADING = {"logged_share": 0.5, "final_logged_share": 0.25, "decay_transitions": 16}


@pytest.mark.parametrize(
    ("own", "drawn"),
    [
        (1, 31),  # 0.5 - 0.25 * 1 / 16 = 0.484375, of a batch of 64
        (8, 24),  # half-way: 0.375
        (16, 16),  # the end: 0.25
        (100, 16),  # and there it stays
    ],
)
def test_the_share_moves_in_a_straight_line_with_what_came_of_our_own(own: int, drawn: int) -> None:
    # Our own are counted as they come: the replay has room for 10 of them.
    assert _logged_share(_replay([*_logged(8), *_own(own)], **_FADING)) == drawn / 64


def test_logged_data_that_comes_does_not_move_the_share() -> None:
    assert _logged_share(_replay([*_logged(100), *_own(8)], **_FADING)) == 24 / 64


@pytest.mark.parametrize("half", [{"final_logged_share": 0.25}, {"decay_transitions": 16}])
def test_half_a_decay_is_refused(half: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="both `final_logged_share` and `decay_transitions`"):
        MixedConfig(**half)


def test_a_restored_replay_goes_on_with_the_share_where_it_was() -> None:
    replay, restored = _replay([*_logged(8), *_own(12)], **_FADING), _replay([], **_FADING)

    restored.load_training_state(replay.training_state())

    # 0.5 - 0.25 * 12 / 16 = 0.3125, although 10 of the 12 are left; 20 of 64.
    assert _logged_share(restored) == _logged_share(replay) == 20 / 64


def test_while_there_is_only_one_kind_batches_consist_of_it() -> None:
    assert _logged_share(_replay(_logged(3))) == 1.0
    assert _logged_share(_replay(_own(3))) == 0.0


def test_our_own_transitions_never_displace_logged_ones() -> None:
    replay = _replay([*_logged(8), *_own(500), *_logged(1)])

    assert (len(replay.logged), len(replay.own)) == (9, 10)


def test_every_stored_transition_is_drawn_whole() -> None:
    own, logged = _own(8), _logged(8)
    by_reward = {t.reward: t for t in (*own, *logged)}

    batch = _replay([*own, *logged]).sample(400, torch.Generator().manual_seed(0))

    assert set(batch.reward.tolist()) == set(by_reward)
    for row, reward in enumerate(batch.reward.tolist()):
        expected = by_reward[reward]
        start, end = batch.actions.offsets[row : row + 2].tolist()
        assert batch.state[row].tolist() == expected.state.tolist()
        assert batch.actions.features[start:end].tolist() == expected.actions.features.tolist()
        assert batch.next_actions.offsets.diff()[row] == len(expected.next_actions or ())


def test_rows_of_the_two_kinds_have_different_numbers() -> None:
    batches = list(_replay([*_own(2), *_logged(3)]).batches(10))

    assert [batch.row.tolist() for batch in batches] == [[-1, -2, -3], [0, 1]]


def test_each_kind_has_its_own_limit_in_bytes() -> None:
    replay = _replay(
        [*_logged(200), *_own(200)],
        capacity=500,
        logged_capacity=500,
        capacity_bytes=5_000,
        logged_capacity_bytes=20_000,
    )

    assert replay.own.content_bytes <= 5_000 < replay.logged.content_bytes <= 20_000
    assert replay.size_bytes == replay.own.size_bytes + replay.logged.size_bytes


def test_a_restored_replay_goes_on_bit_exactly() -> None:
    replay, restored = _replay([*_logged(13), *_own(12)]), _replay([])

    restored.load_training_state(replay.training_state())

    assert fingerprint(restored.training_state()) == fingerprint(replay.training_state())
    samples = [r.sample(9, torch.Generator().manual_seed(0)) for r in (replay, restored)]
    assert torch.equal(samples[0].row, samples[1].row)
