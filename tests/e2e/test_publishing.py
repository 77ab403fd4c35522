"""Whatever a publisher leaves behind, or an intruder puts there, serving goes on with what it has."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agent_core.errors import ConfigError
from service.policies.artefacts import ArtefactStore
from service.policies.config import load_policy
from service.repository import HINTS, PolicyKeys
from tests.support.deployment import Deployment
from tests.support.policies import bandit
from tests.support.processes import Children, wait_until

pytestmark = pytest.mark.faults

ACT = {"observation": {"vector": [0.5, -1]}, "actions": ["a", "b", "c"]}


def _registered(stack: Deployment, policy: str) -> Path:
    """A policy that nobody trains, and the folder of its versions."""
    stack.register(bandit(policy, learning={"continuous": False}))
    return stack.artefacts / policy


def _point_at(stack: Deployment, policy: str, version: int) -> str:
    """Moves the registry's pointer as a broken publisher would; returns why the server refused it."""
    with stack.redis() as client:
        client.hset(PolicyKeys(policy).meta, "live", str(version))
        client.publish(HINTS, policy)
    wait_until(lambda: f"version {version}:" in _refused(stack, policy), what="the refusal")
    return _refused(stack, policy)


def _refused(stack: Deployment, policy: str) -> str:
    refused: dict[str, str] = stack.http.get("/readyz").json()["refused"]
    return refused.get(policy, "")


def _version(stack: Deployment, policy: str) -> str:
    answer = stack.http.post("/v1/act", json={**ACT, "policy": policy})
    assert answer.status_code == 200, answer.text
    label: str = answer.json()["model_version"]
    return label


def test_a_publisher_that_is_killed_leaves_only_whole_versions(
    stack: Deployment, children: Children
) -> None:
    """Failure table row 28."""
    folder = _registered(stack, "killed")
    publish = (
        "import itertools, sys; from pathlib import Path\n"
        "from service.policies.artefacts import ArtefactStore\n"
        "store = ArtefactStore(Path(sys.argv[1])); whole = store.load('killed', 1)\n"
        "for version in itertools.count(100): store.save('killed', version, whole)\n"
    )
    publisher = children.spawn(
        [sys.executable, "-c", publish, str(stack.artefacts)], name="publisher"
    )
    publisher.wait_until((folder / "120").exists, what="some versions", timeout_s=60)
    publisher.kill()
    versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    store = ArtefactStore(stack.artefacts)

    loaded = [store.load("killed", version).policy for version in versions]

    assert len(loaded) > 20
    assert _version(stack, "killed") == "killed@1"


def test_a_half_written_version_is_refused_and_the_old_one_serves(stack: Deployment) -> None:
    """Failure table rows 28 and 29: the manifest is there, and half of the tensors."""
    folder = _registered(stack, "half")
    shutil.copytree(folder / "1", folder / "7")
    tensors = folder / "7" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[: tensors.stat().st_size // 2])

    reason = _point_at(stack, "half", 7)

    assert "truncated" in reason
    assert _version(stack, "half") == "half@1"
    assert stack.metric('nacre_versions_refused_total{policy="half",reason="truncated"}') >= 1


def test_a_pointer_to_nowhere_is_refused_until_the_version_appears(stack: Deployment) -> None:
    """Failure table row 28: a shared folder may be behind the registry."""
    folder = _registered(stack, "nowhere")
    reason = _point_at(stack, "nowhere", 9)
    before = _version(stack, "nowhere")
    shutil.copytree(folder / "1", folder / ".copying")
    (folder / ".copying").rename(folder / "9")

    wait_until(lambda: _version(stack, "nowhere") == "nowhere@9", what="the late version")

    assert "missing" in reason
    assert before == "nowhere@1"


class Bomb:
    """Whoever unpickles it makes a directory."""

    def __init__(self, sentinel: Path) -> None:
        self._sentinel = sentinel

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._sentinel),)


def _torch_saved(bomb: Bomb) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": bomb}, file)
    return file.getvalue()


def _torch_loaded(data: bytes) -> object:
    return torch.load(io.BytesIO(data), weights_only=False)


@pytest.mark.parametrize(
    ("policy", "save", "load"),
    [("pickled", pickle.dumps, pickle.loads), ("torched", _torch_saved, _torch_loaded)],
)
def test_a_pickle_in_place_of_weights_is_refused_and_never_run(
    stack: Deployment,
    tmp_path: Path,
    policy: str,
    save: Callable[[Bomb], bytes],
    load: Callable[[bytes], object],
) -> None:
    """Failure table rows 29 and 41: even when the manifest vouches for it."""
    sentinel = tmp_path / "executed"
    poison = save(Bomb(sentinel))
    folder = _registered(stack, policy)
    shutil.copytree(folder / "1", folder / "666")
    _replace_tensors(folder / "666", poison)

    reason = _point_at(stack, policy, 666)

    assert "format" in reason
    assert _version(stack, policy) == f"{policy}@1"
    assert not sentinel.exists()
    load(poison)
    assert sentinel.exists(), "it was armed"


def _replace_tensors(version: Path, data: bytes) -> None:
    """Puts `data` in place of the tensors and seals the manifest again, as its writer would."""
    sealed = json.loads((version / "manifest.json").read_text())
    manifest = sealed["manifest"] | {
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    sealed |= {"manifest": manifest, "manifest_sha256": hashlib.sha256(canonical).hexdigest()}
    (version / "tensors.safetensors").write_bytes(data)
    (version / "manifest.json").write_text(json.dumps(sealed))


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir", "!!python/name:os.mkdir"],
)
def test_a_policy_file_that_names_code_is_refused_and_never_run(tmp_path: Path, tag: str) -> None:
    """Failure table row 41."""
    sentinel = tmp_path / "executed"
    file = tmp_path / "policy.yaml"
    file.write_text(f"policy: home\nagent: {tag} ['{sentinel}']\n")

    with pytest.raises(ConfigError):
        load_policy(file)

    assert not sentinel.exists()
