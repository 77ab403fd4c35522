"""`nacre up` owns what it starts; the other commands say what they do."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.policies import bandit
from tests.support.processes import Child, Children, answers, free_port, wait_until

pytestmark = pytest.mark.faults

API = b"service.cli\0serve\0"
COMMANDS = [
    "up",
    "serve",
    "worker",
    "learner",
    "demo",
    "check",
    "replay",
    "evaluate",
    "export",
    "version",
]


class Up:
    """`nacre up` on a folder of its own."""

    def __init__(self, children: Children, folder: Path) -> None:
        self._children = children
        self.data = folder / "data"
        self.policies = folder / "policies"
        self.policies.mkdir()
        (self.policies / "home.json").write_text(json.dumps(bandit()))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> Child:
        options = ("--data", str(self.data), "--policies", str(self.policies), "--port")
        up = self._children.nacre("up", *options, str(self.port))
        up.wait_until(lambda: answers(f"{self.url}/readyz"), what="/readyz", timeout_s=60)
        up.wait_until(lambda: len(self.processes()) == 5, what="Redis and three processes")
        return up

    def processes(self, role: bytes = b"") -> set[int]:
        """Everything on this machine that was told of the data folder, `nacre up` included."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command, told = (
                    (process / "cmdline").read_bytes(),
                    (process / "environ").read_bytes(),
                )
            except OSError:  # it ended meanwhile, or belongs to somebody else
                continue
            if bytes(self.data) in command + told and role in command:
                found.add(int(process.name))
        return found

    def act(self) -> str:
        body = {"observation": {"vector": [0.5, -1]}, "actions": ["a", "b"]}
        decision_id: str = httpx.post(f"{self.url}/v1/act", json=body).json()["decision_id"]
        return decision_id


def test_up_tends_what_it_started_and_takes_it_along(children: Children, tmp_path: Path) -> None:
    """What dies is started again. When `nacre up` is killed, everything ends by itself, and nothing
    acknowledged is lost; when it is asked to end, it stops everything and then itself."""
    up = Up(children, tmp_path)
    killed = up.start()
    decision_id = up.act()
    (api,) = up.processes(API)
    os.kill(api, signal.SIGKILL)
    wait_until(lambda: up.processes(API) - {api} != set(), what="another API")

    killed.kill()
    wait_until(lambda: not up.processes(), what="no orphan")
    asked = up.start()
    found = httpx.get(f"{up.url}/v1/decisions/{decision_id}").status_code
    code = asked.terminate(timeout_s=30)

    assert found == 200
    assert code == 0
    assert up.processes() == set()


def test_help_lists_every_command(children: Children) -> None:
    command = children.nacre("--help", environment={"COLUMNS": "100", "NO_COLOR": "1"})

    code = command.wait(timeout_s=30)

    listed = re.findall(r"^\W*([a-z]+) {2,}\w", command.output(), re.MULTILINE)
    assert code == 0
    assert listed == COMMANDS


def test_check_reports_every_conflict_at_once(children: Children, tmp_path: Path) -> None:
    """Failure table row 39."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(bandit()))
    agent = bandit()["agent"] | {
        "policy_learner": {"kind": "liner"},
        "exploration": {"kind": "epsilon_greedy", "epsilon": 2},
    }
    bad.write_text(json.dumps(bandit(agent=agent, durability="maybe", polcy="x")))

    fine, refused = children.nacre("check", str(good)), children.nacre("check", str(bad))
    codes = [one.wait(timeout_s=60) for one in (fine, refused)]

    assert codes == [0, 1]
    assert "fine" in fine.output()
    for word in ("liner", "epsilon", "durability", "polcy"):
        assert word in refused.output()
