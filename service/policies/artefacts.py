"""Where snapshots lie: `<root>/<policy>/<version>/`, written once, never changed."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from agent_core.errors import SnapshotError
from agent_core.snapshot import PolicySnapshot


class ArtefactStore:
    """A folder that all processes share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, policy: str, version: int, snapshot: PolicySnapshot) -> None:
        """Writes a snapshot so that it is either whole or absent."""
        snapshot.save(self._path(policy, version))

    def load(self, policy: str, version: int) -> PolicySnapshot:
        """A verified snapshot.

        Raises:
            SnapshotError: it is missing, truncated, or not what was written.
        """
        path = self._path(policy, version)
        if not path.is_dir():
            raise SnapshotError(
                "missing", f"{path} does not exist; check that NACRE_ARTEFACTS is shared"
            )
        return PolicySnapshot.load(path)

    def forget(self, policy: str, version: int) -> None:
        """Deletes one version's files, if they are there."""
        shutil.rmtree(self._path(policy, version), ignore_errors=True)

    def sweep(self, policy: str, below: int, keep: Collection[int]) -> None:
        """Deletes the versions before `below`, but for those in `keep`."""
        folder = self._root / policy
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.isdecimal() and int(path.name) < below and int(path.name) not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def _path(self, policy: str, version: int) -> Path:
        return self._root / policy / str(version)
