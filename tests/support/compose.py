"""Runs the services of a compose file as local processes, where there is no container engine.

What is taken from the files, unchanged: every service's command, environment, health check and order of
start, and the image's entry point and environment. What a container engine would do is done here: host
names become 127.0.0.1, volumes become folders, secrets become files, published ports become free ones.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from service.redis_server import find_server
from tests.support.processes import Child, Children, free_port

_REDIS_PORT = "6379"
_HEALTH_CHECK_S = 10.0


def load_compose(path: Path) -> dict[str, Any]:
    """The compose file with its `${NAME:-default}` set to the defaults."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", path.read_text())
    loaded = yaml.safe_load(text)
    assert isinstance(loaded, dict)
    return loaded


def dockerfile_instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) in order, continued lines joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(name.upper(), arguments) for name, arguments in parts]


class LocalCompose:
    """A compose project on this machine, everything it writes below `place`.

    `mounts` replaces folders of the source tree that the compose file mounts, as an administrator would.
    """

    def __init__(
        self, root: Path, place: Path, children: Children, *, mounts: Mapping[str, Path]
    ) -> None:
        self._root = root
        self._place = place
        self._children = children
        self._mounts = mounts
        self._project = load_compose(root / "docker-compose.yml")
        self._image = dockerfile_instructions(root / "Dockerfile")
        self.services: dict[str, dict[str, Any]] = {
            name: service
            for name, service in self._project["services"].items()
            if "profiles" not in service
        }
        self.running: dict[str, Child] = {}
        self.ports = {name: free_port() for name in self.services}
        self.working_directory = place / "workdir"
        self._write_programs()

    def write_secret(self, name: str, content: str) -> None:
        """What the compose file expects the administrator to have put in place."""
        (self._place / "secrets" / name).write_text(content)

    def up(self, timeout_s: float = 60.0) -> None:
        """Starts every service once those it depends on are healthy; returns when all are."""
        for name in self._in_order():
            for dependency, how in self.services[name].get("depends_on", {}).items():
                assert how == {"condition": "service_healthy"}
                self.wait_healthy(dependency, timeout_s)
            self.running[name] = self._start(name)
        for name in self.services:
            self.wait_healthy(name, timeout_s)

    def down(self) -> dict[str, int]:
        """Stops every service as `docker compose stop` does, dependants first; their exit codes."""
        return {name: self.running[name].terminate(20) for name in reversed(self._in_order())}

    def wait_healthy(self, name: str, timeout_s: float) -> None:
        self.running[name].wait_until(
            lambda: self.is_healthy(name), what=f"{name} to be healthy", timeout_s=timeout_s
        )

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says now."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        checked = subprocess.run(
            ["sh", "-c", words[0]] if kind == "CMD-SHELL" else words,
            env=os.environ | self._environment(name),
            capture_output=True,
            timeout=_HEALTH_CHECK_S,
            check=False,
        )
        return checked.returncode == 0

    def _start(self, name: str) -> Child:
        service = self.services[name]
        entry_point = json.loads(self._last("ENTRYPOINT")) if "build" in service else []
        command = [self._localise(name, word) for word in [*entry_point, *service["command"]]]
        return self._children.spawn(
            command,
            name=name,
            environment=self._environment(name),
            directory=self.working_directory,
        )

    def _environment(self, name: str) -> dict[str, str]:
        service = self.services[name]
        image = self._image_environment() if "build" in service else {}
        declared = image | service.get("environment", {})
        local = {key: self._localise(name, str(value)) for key, value in declared.items()}
        if "ports" in service:
            local["NACRE_PORT"] = str(self.ports[name])
        return local | {"PATH": f"{self._place / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def _localise(self, name: str, text: str) -> str:
        """`text` with the container's paths and host names replaced by this machine's."""
        for inside, outside in self._paths(name).items():
            text = re.sub(rf"^{re.escape(inside)}(?=/|$)", str(outside), text)
        return text.replace(f"//redis:{_REDIS_PORT}", f"//127.0.0.1:{self.ports['redis']}")

    def _paths(self, name: str) -> dict[str, Path]:
        service = self.services[name]
        paths = {"/tmp": self._folder("tmp", name), "/run/secrets": self._folder("secrets")}
        for volume in service.get("volumes", []):
            source, inside = volume.split(":")[:2]
            paths[inside] = self._mounts.get(source) or self._folder("volumes", source)
        return paths

    def _folder(self, *parts: str) -> Path:
        folder = self._place.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _image_environment(self) -> dict[str, str]:
        # All that runs comes from one stage: after it, some get a compiler besides.
        start = next(
            at for at, (_, words) in enumerate(self._image) if words.endswith("AS process")
        )
        pairs = [shlex.split(words) for name, words in self._image[start:] if name == "ENV"]
        environment = dict(pair.split("=", 1) for words in pairs for pair in words)
        del environment["PATH"]
        return environment

    def _last_index(self, instruction: str) -> int:
        return max(at for at, (name, _) in enumerate(self._image) if name == instruction)

    def _last(self, instruction: str) -> str:
        return self._image[self._last_index(instruction)][1]

    def _in_order(self) -> list[str]:
        """Every service after those it depends on; one level is all there is."""
        return sorted(
            self.services, key=lambda name: len(self.services[name].get("depends_on", {}))
        )

    def _write_programs(self) -> None:
        """What the images have on their PATH: our command, Python, and Redis on the port it has here."""
        self._folder("secrets")
        self.working_directory.mkdir(parents=True)
        server = find_server()
        port = self.ports["redis"]
        programs = {
            "nacre": f'PYTHONPATH={self._root} exec {sys.executable} -m service.cli "$@"',
            "python": f'exec {sys.executable} "$@"',
            "redis-server": f'exec {server} "$@" --port {port} --bind 127.0.0.1',
            "redis-cli": f'exec {server.with_name(server.name.replace("server", "cli"))} -p {port} "$@"',
        }
        for name, script in programs.items():
            program = self._folder("bin") / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
