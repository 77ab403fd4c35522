"""Snapshots and checkpoints: whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.config import AgentConfig, parse_agent_config
from agent_core.errors import SnapshotError
from agent_core.interfaces import Policy
from agent_core.snapshot import DataRange, PolicySnapshot, TrainingCheckpoint, restore_policy
from tests.support.learners import checkpoint, fingerprint
from tests.support.policies import bandit, featured, sequential

_MANIFEST, _TENSORS = "manifest.json", "tensors.safetensors"


def _config(document: dict[str, Any]) -> AgentConfig:
    return parse_agent_config(document["agent"])


def _policy(config: AgentConfig) -> Policy:
    torch.manual_seed(1)
    policy = config.policy_learner.build_policy(config.spec)
    assert isinstance(policy, Policy)
    return policy


def _snapshot(document: dict[str, Any] | None = None) -> PolicySnapshot:
    config = _config(document or featured())
    return PolicySnapshot.of(
        _policy(config),
        policy_name="shop",
        model_version=4,
        config=config,
        created_at="2025-01-01T00:00:00Z",
        parent=3,
        experience=100,
        updates=50,
        data_range=DataRange(first="1-0", last="9-0"),
    )


def _refusal(directory: Path) -> str:
    with pytest.raises(SnapshotError) as caught:
        PolicySnapshot.load(directory)
    return caught.value.reason


@pytest.mark.parametrize(
    "document", [bandit(), featured(), sequential()], ids=lambda d: d["policy"]
)
def test_a_restored_policy_scores_as_the_saved_one(
    document: dict[str, Any], tmp_path: Path
) -> None:
    config, snapshot = _config(document), _snapshot(document)

    snapshot.save(tmp_path / "shop" / "4")
    loaded = PolicySnapshot.load(tmp_path / "shop" / "4")
    policy = restore_policy(loaded, config)

    assert fingerprint(policy.state_dict()) == fingerprint(snapshot.weights)
    assert loaded.model_dump() == snapshot.model_dump()
    assert (loaded.model_version, loaded.parent, loaded.experience) == (4, 3, 100)
    assert parse_agent_config(loaded.config) == config


def test_it_is_readable_by_others_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    _snapshot().save(tmp_path / "4")

    assert [path.name for path in tmp_path.iterdir()] == ["4"]
    assert sorted(path.name for path in (tmp_path / "4").iterdir()) == [_MANIFEST, _TENSORS]
    assert (tmp_path / "4").stat().st_mode & 0o777 == 0o755


def test_a_version_never_changes(tmp_path: Path) -> None:
    _snapshot().save(tmp_path / "4")

    with pytest.raises(FileExistsError):
        _snapshot().save(tmp_path / "4")


def test_a_snapshot_does_not_follow_further_learning() -> None:
    config = _config(featured())
    policy = _policy(config)
    snapshot = PolicySnapshot.of(
        policy, policy_name="p", model_version=1, config=config, created_at="now"
    )
    before = fingerprint(snapshot.weights)

    for value in policy.state_dict().values():
        value.add_(1)

    assert fingerprint(snapshot.weights) == before


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, f"no space for {descriptor}")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="no space"):
        _snapshot().save(tmp_path / "4")

    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "4") == "missing"


@pytest.mark.parametrize("name", [_MANIFEST, _TENSORS])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    _snapshot().save(tmp_path / "4")
    path = tmp_path / "4" / name
    data = path.read_bytes()

    path.write_bytes(data[: int(kept * len(data))])

    assert _refusal(tmp_path / "4") == "truncated"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("snapshots") / "4"
    _snapshot(bandit()).save(directory)
    return directory


@given(st.data())
def test_a_changed_bit_anywhere_is_noticed(saved: Path, data: st.DataObject) -> None:
    path = saved / data.draw(st.sampled_from([_MANIFEST, _TENSORS]))
    good = path.read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[position] ^= 1 << data.draw(st.integers(0, 7))
    expected = PolicySnapshot.load(saved)

    path.write_bytes(bad)
    try:
        loaded = PolicySnapshot.load(saved)
    except SnapshotError:
        return
    finally:
        path.write_bytes(good)

    # Only white space between the fields of the manifest may differ and mean the same.
    assert path.name == _MANIFEST
    assert loaded.model_dump() == expected.model_dump()


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    _snapshot().save(tmp_path / "4")
    path = tmp_path / "4" / _MANIFEST
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))

    assert _refusal(tmp_path / "4") == "format"


def test_a_checkpoint_is_not_a_policy(tmp_path: Path) -> None:
    checkpoint({"x": torch.ones(1)}).save(tmp_path)

    assert _refusal(next(tmp_path.iterdir())) == "format"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, number: float) -> None:
    snapshot = _snapshot()
    next(iter(snapshot.weights.values())).view(-1)[0] = number
    snapshot.save(tmp_path / "4")

    assert _refusal(tmp_path / "4") == "non_finite"
    with pytest.raises(SnapshotError, match="non_finite"):
        restore_policy(snapshot, _config(featured()))


def test_weights_behind_other_features_are_refused() -> None:
    with pytest.raises(SnapshotError, match="schema: trained on features fs:"):
        restore_policy(_snapshot(featured()), _config(sequential()))


def test_weights_of_another_shape_are_refused() -> None:
    document = featured()
    document["agent"]["policy_learner"] = {"kind": "neural_linear", "hidden": [3]}

    with pytest.raises(SnapshotError, match="schema: "):
        restore_policy(_snapshot(featured()), _config(document))


def test_weights_that_answer_the_probes_differently_are_refused() -> None:
    snapshot = _snapshot()
    snapshot.weights["mean"].add_(0.01)

    with pytest.raises(SnapshotError, match="probe: input 0"):
        restore_policy(snapshot, _config(featured()))


def test_restoring_leaves_global_randomness_alone() -> None:
    snapshot, before = _snapshot(), torch.get_rng_state()

    restore_policy(snapshot, _config(featured()))

    assert torch.equal(torch.get_rng_state(), before)


def test_probes_hold_nobodys_data() -> None:
    one, other = _snapshot().probes, _snapshot(featured()).probes

    assert [probe.state for probe in one] == [probe.state for probe in other]
    assert [len(probe.actions) for probe in one] == [1, 2, 5]


def _numbered(number: int) -> TrainingCheckpoint:
    state = {
        "weights": torch.full((3,), float(number)),
        "none": torch.zeros(0, 4),
        "n": torch.tensor(2),
    }
    return checkpoint(state).model_copy(update={"position": f"{number}-0"})


def test_the_newest_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    for number in (1, 2):
        _numbered(number).save(tmp_path / "deep" / "below")

    latest = TrainingCheckpoint.load_latest(tmp_path / "deep" / "below")

    assert latest is not None
    assert latest.model_dump() == _numbered(2).model_dump()
    assert fingerprint(latest.state) == fingerprint(_numbered(2).state)


def test_the_last_two_are_kept_and_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".writing-abc").mkdir()

    for number in range(5):
        _numbered(number).save(tmp_path)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-00000004", "checkpoint-00000005"]


def test_a_torn_newest_checkpoint_gives_way_to_the_one_before_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        _numbered(number).save(tmp_path)
    _tear(tmp_path / "checkpoint-00000002")

    with caplog.at_level(logging.WARNING):
        latest = TrainingCheckpoint.load_latest(tmp_path)

    assert latest is not None
    assert latest.position == "1-0"
    assert "truncated" in caplog.text


def test_when_all_checkpoints_are_torn_training_does_not_start_afresh(tmp_path: Path) -> None:
    _numbered(1).save(tmp_path)
    _tear(tmp_path / "checkpoint-00000001")

    with pytest.raises(SnapshotError, match="truncated"):
        TrainingCheckpoint.load_latest(tmp_path)


def test_no_checkpoint_yet_is_none(tmp_path: Path) -> None:
    assert TrainingCheckpoint.load_latest(tmp_path / "new") is None


def test_a_manifest_that_is_sealed_but_lacks_a_field_is_refused(tmp_path: Path) -> None:
    _snapshot().save(tmp_path / "4")
    path = tmp_path / "4" / _MANIFEST
    sealed = json.loads(path.read_text())
    del sealed["manifest"]["probes"]
    canonical = json.dumps(sealed["manifest"], sort_keys=True, separators=(",", ":"))
    sealed["manifest_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()

    path.write_text(json.dumps(sealed))

    assert _refusal(tmp_path / "4") == "format"


def test_a_policy_that_broke_in_training_gives_no_snapshot() -> None:
    config = _config(featured())
    policy = _policy(config)
    next(iter(policy.state_dict().values())).view(-1)[0] = float("nan")

    with pytest.raises(SnapshotError, match="non_finite"):
        PolicySnapshot.of(policy, policy_name="p", model_version=1, config=config, created_at="now")


def test_scores_of_a_restored_policy_are_finite_for_ordinary_inputs() -> None:
    config = _config(featured())
    policy = restore_policy(_snapshot(), config)
    assert isinstance(policy, Policy)
    scorer = policy.scorer()

    scores = scorer.score(
        np.zeros(config.spec.state_dim, np.float32),
        scorer.prepare(np.ones((3, config.spec.action_dim), np.float32)),
    )

    assert np.isfinite(scores.value).all()


def _tear(directory: Path) -> None:
    path = directory / _TENSORS
    path.write_bytes(path.read_bytes()[:-4])
