"""A killed trainer's successor is another process: it must go on as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.learners import (
    LEARNERS,
    agent_learner,
    checkpoint,
    fingerprint,
    made_up,
    spec_of,
    twenty_updates_more,
)

_ROOT = Path(__file__).parents[3]


def test_training_continues_bit_exactly_in_another_process(tmp_path: Path) -> None:
    expected = {}
    for config_class in LEARNERS:
        config = config_class()
        learner = agent_learner(config)
        learner.learn(made_up(95, spec=spec_of(config)))
        checkpoint(learner.training_state()).save(tmp_path / config.kind)
        before = learner.updates, learner.experience
        # Of a replay it goes over the 100th update, where features are refreshed.
        learner.learn(twenty_updates_more(config))
        expected[config.kind] = fingerprint(learner.training_state())
        made = learner.updates - before[0] if learner.updates else learner.experience - before[1]
        assert made >= 20, config.kind

    process = subprocess.run(
        [sys.executable, "-m", "tests.support.learners", str(tmp_path)],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    resumed = dict(line.split() for line in process.stdout.splitlines())
    assert resumed == expected
