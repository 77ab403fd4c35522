"""What serving needs and what training needs, on disk: whole or not at all.

    learner:  PolicySnapshot.of(learner.policy, config=config, ...).save(directory)
              TrainingCheckpoint(state=learner.training_state(), ...).save(directory)
    server:   policy = restore_policy(PolicySnapshot.load(directory), config)

Each is a directory of two files: `tensors.safetensors` and `manifest.json`. The manifest knows the size
and the hash of the tensors, and its own hash, so a changed bit anywhere is noticed. A directory is written
under a temporary name, synced, and renamed: a half-written one is never visible. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_core.config import AgentConfig
from agent_core.errors import SnapshotError
from agent_core.functional.side_stream import on_host
from agent_core.interfaces import BoxPolicy, ServedPolicy, TrainingState
from agent_core.types import Doubles, Floats, ProblemSpec

FORMAT_VERSION = 1
_MANIFEST, _TENSORS = "manifest.json", "tensors.safetensors"
_log = logging.getLogger(__name__)


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class DataRange(_Stored):
    """Ids of the first and the last replay entry that were learned from; None before any."""

    first: str | None = None
    last: str | None = None


class Probe(_Stored):
    """An input, made up and not anybody's data, and what the policy answered to it.

    `state`: S numbers. `actions`: A rows of D. `values`: A expected scores. For continuous actions
    `actions` is empty, and `values` are the D numbers of the mean.
    """

    state: tuple[float, ...]
    actions: tuple[tuple[float, ...], ...]
    values: tuple[float, ...]


class PolicySnapshot(_Stored):
    """One version of a policy: its weights, where they come from, and how to tell that they work.

    `config`: the agent's config as JSON; `config_hash`: its hash. `feature_schema`: fingerprint of the
    features that the weights were trained on. `parent`: the version before, 0 if none. `experience`:
    transitions learned from. `created_at`: RFC 3339. `weights`: the policy's state dict, on the host.
    """

    policy: str
    model_version: int
    config: dict[str, Any]
    config_hash: str
    feature_schema: str
    parent: int
    experience: int
    updates: int
    data_range: DataRange
    created_at: str
    probes: tuple[Probe, ...]
    weights: TrainingState = Field(exclude=True, repr=False)

    @classmethod
    def of(
        cls,
        policy: ServedPolicy,
        *,
        policy_name: str,
        model_version: int,
        config: AgentConfig,
        created_at: str,
        parent: int = 0,
        experience: int = 0,
        updates: int = 0,
        data_range: DataRange = DataRange(),  # noqa: B008 - frozen
    ) -> PolicySnapshot:
        """Copies the weights, so that learning can go on.

        Raises: SnapshotError `non_finite` if the policy is broken, before anybody can load it.
        """
        weights = {name: one.clone() for name, one in on_host(policy.state_dict()).items()}
        _refuse_non_finite(weights)
        return cls(
            policy=policy_name,
            model_version=model_version,
            config=config.model_dump(mode="json"),
            config_hash=config.config_hash,
            feature_schema=config.feature_schema,
            parent=parent,
            experience=experience,
            updates=updates,
            data_range=data_range,
            created_at=created_at,
            probes=_record_probes(policy, config.spec),
            weights=weights,
        )

    def save(self, directory: Path) -> None:
        """Writes the snapshot as `directory`, and its parents if they are missing.

        Raises: FileExistsError if there is one already; a version never changes.
        """
        if directory.exists():
            raise FileExistsError(f"{directory} exists; a snapshot is never overwritten")
        _write(directory, "policy", self.model_dump(), self.weights)

    @classmethod
    def load(cls, directory: Path) -> PolicySnapshot:
        """Reads and verifies `directory`. Raises: SnapshotError with a reason."""
        body, weights = _read(directory, "policy")
        return _parse(cls, body | {"weights": weights})


class TrainingCheckpoint(_Stored):
    """Everything that training needs to continue bit-exactly.

    `position`: id of the last replay entry that is in it. `model_version`: the version published last.
    `state`: `AgentLearner.training_state()`.
    """

    policy: str
    config_hash: str
    feature_schema: str
    position: str
    model_version: int
    created_at: str
    state: TrainingState = Field(exclude=True, repr=False)

    def save(self, directory: Path) -> None:
        """Writes the newest checkpoint below `directory` and keeps the one before it.

        Nobody else may write there: what a killed predecessor left behind is swept away.
        """
        older = _checkpoints(directory)
        number = 1 + (int(older[-1].name.removeprefix(_CHECKPOINT)) if older else 0)
        target = directory / f"{_CHECKPOINT}{number:08d}"
        _write(target, "training", self.model_dump(), self.state)
        for leftover in [*older[:-1], *directory.glob(f"{_TEMPORARY}*")]:
            shutil.rmtree(leftover)

    @classmethod
    def load(cls, directory: Path) -> TrainingCheckpoint:
        """Reads and verifies one checkpoint. Raises: SnapshotError with a reason."""
        body, state = _read(directory, "training")
        return _parse(cls, body | {"state": state})

    @classmethod
    def load_latest(cls, directory: Path) -> TrainingCheckpoint | None:
        """The newest checkpoint below `directory` that is whole; None if there never was one.

        A refused one is logged. Raises: SnapshotError if there are some and all must be refused,
        because to begin again silently would throw away what was learned.
        """
        refusal: SnapshotError | None = None
        for candidate in reversed(_checkpoints(directory)):
            try:
                return cls.load(candidate)
            except SnapshotError as error:
                refusal = error
                _log.warning("checkpoint %s refused, trying the one before: %s", candidate, error)
        if refusal is not None:
            raise refusal
        return None


def restore_policy(snapshot: PolicySnapshot, config: AgentConfig) -> ServedPolicy:
    """A fresh policy with the snapshot's weights, which has answered the probes as recorded.

    Raises: SnapshotError `schema` if features or weights do not fit, `non_finite` if a weight is NaN or
    infinite, `probe` if a probe is answered differently.
    """
    if snapshot.feature_schema != config.feature_schema:
        found = f"features {snapshot.feature_schema}, the agent has {config.feature_schema}"
        raise SnapshotError("schema", f"trained on {found}; use the config of the snapshot")
    _refuse_non_finite(snapshot.weights)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and then overwritten
        policy = config.policy_learner.build_policy(config.spec)
    try:
        policy.load_state_dict(snapshot.weights)
    except RuntimeError as error:
        raise SnapshotError("schema", str(error)) from error
    _check_probes(policy, snapshot.probes)
    return policy


_PROBE_ACTIONS = (1, 2, 5)
_PROBE_TOLERANCE = 1e-5


def _record_probes(policy: ServedPolicy, spec: ProblemSpec) -> tuple[Probe, ...]:
    generator = np.random.Generator(np.random.PCG64(0))
    answer = _answers(policy)
    probes = []
    for count in _PROBE_ACTIONS:
        state = generator.standard_normal(spec.state_dim).astype(np.float32)
        actions = generator.standard_normal((count, spec.action_dim)).astype(np.float32)
        if spec.embedding is not None:
            actions[:, 0] = generator.integers(spec.embedding.rows, size=count)
        values = answer(state, actions)
        if not np.isfinite(values).all():
            raise SnapshotError("non_finite", f"a made-up input scores {values.tolist()}")
        shown = actions.tolist() if spec.box is None else ()
        probes.append(Probe(state=state.tolist(), actions=shown, values=values.tolist()))
    return tuple(probes)


def _answers(policy: ServedPolicy) -> Callable[[Floats, Floats], Doubles]:
    """What a policy answers to a state `[S]` and actions `[A, D]`."""
    if isinstance(policy, BoxPolicy):
        box = policy.scorer()
        return lambda state, actions: box.mean(state).astype(np.float64)
    sets = policy.scorer()
    return lambda state, actions: sets.score(state, sets.prepare(actions)).value


def _check_probes(policy: ServedPolicy, probes: tuple[Probe, ...]) -> None:
    answer = _answers(policy)
    for number, probe in enumerate(probes):
        got = answer(np.array(probe.state, np.float32), np.array(probe.actions, np.float32))
        expected = np.array(probe.values)
        # Relative to the largest value: where large terms cancel, rounding is relative to the terms.
        allowed = _PROBE_TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if not np.abs(got - expected).max() <= allowed:
            raise SnapshotError(
                "probe", f"input {number} scores {got.tolist()}, not {probe.values}"
            )


_CHECKPOINT = "checkpoint-"
_TEMPORARY = ".writing-"
_Model = TypeVar("_Model", bound=BaseModel)


def _checkpoints(directory: Path) -> list[Path]:
    """Oldest first."""
    return sorted(directory.glob(f"{_CHECKPOINT}*"))


def _write(target: Path, kind: str, body: dict[str, Any], tensors: TrainingState) -> None:
    """Writes `target` under a temporary name, makes it durable, and renames it."""
    data = safetensors.torch.save(
        {name: value.detach().contiguous() for name, value in on_host(tensors).items()}
    )
    manifest = body | {
        "kind": kind,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    sealed = {
        "format_version": FORMAT_VERSION,
        "manifest_sha256": _manifest_hash(manifest),
        "manifest": manifest,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=target.parent))
    try:
        _write_durably(temporary / _TENSORS, data)
        _write_durably(
            temporary / _MANIFEST, json.dumps(sealed, indent=1, allow_nan=False).encode()
        )
        _sync(temporary)
        temporary.chmod(0o755)  # mkdtemp makes it private; servers may run as another user
        temporary.rename(target)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _read(directory: Path, kind: str) -> tuple[dict[str, Any], TrainingState]:
    """The manifest's body and the tensors, verified."""
    try:
        sealed, data = (directory / _MANIFEST).read_bytes(), (directory / _TENSORS).read_bytes()
    except OSError as error:
        raise SnapshotError("missing", f"{directory} cannot be read: {error}") from error
    manifest = _open_manifest(sealed)
    if manifest.pop("kind", None) != kind:
        raise SnapshotError("format", f"{directory} is not a {kind} snapshot")
    size, digest = manifest.pop("size_bytes", None), manifest.pop("sha256", None)
    if size != len(data):
        raise SnapshotError("truncated", f"{len(data)} bytes of tensors where {size} were written")
    if digest != hashlib.sha256(data).hexdigest():
        raise SnapshotError("hash", f"the tensors in {directory} are not what was written")
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise SnapshotError("format", str(error)) from error
    _refuse_non_finite(tensors)
    return manifest, tensors


def _open_manifest(sealed: bytes) -> dict[str, Any]:
    try:
        outer = json.loads(sealed)
    except ValueError as error:
        raise SnapshotError("truncated", f"the manifest is not JSON: {error}") from error
    version = outer.get("format_version") if isinstance(outer, dict) else None
    if version != FORMAT_VERSION:
        raise SnapshotError("format", f"format version {version}, expected {FORMAT_VERSION}")
    manifest = outer.get("manifest")
    if not isinstance(manifest, dict) or outer.get("manifest_sha256") != _manifest_hash(manifest):
        raise SnapshotError("hash", "the manifest is not what was written")
    return manifest


def _manifest_hash(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _parse(model: type[_Model], value: object) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise SnapshotError("format", f"the manifest's {model.__name__}: {error}") from error


def _refuse_non_finite(tensors: TrainingState) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise SnapshotError("non_finite", f"{name} holds NaN or infinity")


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
