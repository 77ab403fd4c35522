"""The demos end to end: real processes, real HTTP, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from service.demo import run_demo
from tests.support.processes import Child, Children


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the demo keeps what it must not leave behind."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def left_behind(scratch: Path) -> list[Path]:
    """Temporary files, but for the cache folder that torch makes by itself."""
    return [path for path in scratch.iterdir() if not path.name.startswith("torchinductor")]


def start(children: Children, scratch: Path, *arguments: str) -> Child:
    """`nacre demo`, with warnings as errors."""
    output = [
        "--json",
        str(scratch.parent / "demo.json"),
        "--plot",
        str(scratch.parent / "demo.png"),
    ]
    command = [sys.executable, "-W", "error", "-m", "service.cli", "demo", *output, *arguments]
    return children.spawn(command, name="demo", environment={"TMPDIR": str(scratch)})


def played(children: Children, scratch: Path, *arguments: str) -> dict[str, Any]:
    """What a whole demo wrote; it must keep its promises and clean up."""
    demo = start(children, scratch, *arguments)
    assert demo.wait(timeout_s=180) == 0, demo.output()
    assert (scratch.parent / "demo.png").stat().st_size > 10_000
    assert left_behind(scratch) == []
    written: dict[str, Any] = json.loads((scratch.parent / "demo.json").read_text())
    return written


def test_the_digits_are_played_and_accounted_for(children: Children, scratch: Path) -> None:
    written = played(children, scratch, "--requests", "300")

    headline, account = written["headline"], written["account"]
    assert account["decisions"] == account["rewarded"] + account["defaulted"] == 300
    assert (
        account["pending"] == headline["events_lost"] == headline["duplicates_counted_twice"] == 0
    )
    assert written["rewards"]["duplicate"] > 0
    assert headline["mean_importance_weight_low"] <= 1 <= headline["mean_importance_weight_high"]
    assert headline["act_p50_ms"] <= headline["act_p99_ms"]
    assert 0.15 < headline["uniform_over_best"] < 0.25


def test_cartpole_is_played_as_episodes(children: Children, scratch: Path) -> None:
    written = played(children, scratch, "--env", "CartPole-v1", "--requests", "400")

    headline, account = written["headline"], written["account"]
    assert headline["env_steps"] >= 400
    assert headline["episodes"] == len(written["per_episode"]) > 0
    # Only what nobody saw end is not learned from: at most one step of each environment.
    assert 0 < account["no_successor"] <= 16
    assert account["rewarded"] == account["decisions"] - account["no_successor"]


def test_a_foreign_log_is_learned_from_and_each_probability_is_logged(
    children: Children, scratch: Path
) -> None:
    written = played(children, scratch, "--log", "open-bandit", "--requests", "200")

    headline = written["headline"]
    assert (
        headline["probabilities_in_log"] == headline["learned_from"] == headline["decisions"] == 200
    )
    assert 0 < headline["mean_probability_of_logged_action"] < 1


def test_a_demo_that_is_told_to_stop_takes_everything_with_it(
    children: Children, scratch: Path
) -> None:
    demo = start(children, scratch, "--requests", "100000")
    demo.wait_until(lambda: "digits" in demo.output(), what="progress", timeout_s=60)
    started = _children_of(demo.pid)

    demo.terminate(timeout_s=60)

    assert demo.exit_code == 128 + signal.SIGTERM
    assert left_behind(scratch) == []
    assert len(started) >= 4
    assert not [pid for pid in started if _is_running(pid)]


def _children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in text.split()]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"env": "CartPole-v1", "log": "open-bandit"}, "choose one"),
        ({"log": "closed-bandit"}, "'open-bandit'"),
        ({"env": "CartPole-v9000"}, "CartPole"),
        ({"requests": 0}, "at least 1"),
        ({"log": "open-bandit", "requests": 20_001}, "20,000"),
    ],
)
def test_a_demo_that_cannot_be_says_why_and_starts_nothing(
    wrong: dict[str, Any], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"env": None, "log": None, "story": False, "requests": None} | wrong

    code = run_demo(**asked, json=None, plot=tmp_path / "demo.png", seed=0)

    assert code == 2
    assert why in capsys.readouterr().out
