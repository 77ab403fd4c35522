"""Names the bytes of a snapshot, so that an approval holds for these and no others."""

from __future__ import annotations

import hashlib
from pathlib import Path


def snapshot_sha256(artefacts: Path, policy: str, version: int) -> str:
    """SHA-256 over the files of one version, their names included; "" where there are none.

    The files are read, not what their manifest says of them: an approval is void if one byte is another.
    """
    folder = artefacts / policy / str(version)
    files = sorted(one for one in folder.iterdir() if one.is_file()) if folder.is_dir() else []
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            inner = hashlib.file_digest(content, "sha256").hexdigest()
        whole.update(f"{file.name} {inner}\n".encode())
    return whole.hexdigest() if files else ""
