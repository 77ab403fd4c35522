"""The policy file: every problem at once, each with its fix, whatever section it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_core.errors import ConfigError
from service.policies.config import load_policy, parse_policy
from tests.support.policies import bandit, sequential, with_agent


def test_a_good_file_is_whole_with_its_defaults() -> None:
    policy = parse_policy(bandit())

    assert policy.reward.default == 0.0
    assert policy.durability == "stream"
    assert policy.config_hash.startswith("c:")


def test_problems_of_every_section_come_together() -> None:
    document = with_agent(
        bandit(reward={"wait_s": -1}, durabilty="stream"), exploration={"kind": "ucbb"}
    )

    with pytest.raises(ConfigError) as caught:
        parse_policy(document)

    paths = {problem.path for problem in caught.value.problems}
    assert {"agent.exploration.kind", "reward.wait_s", "durabilty"} <= paths
    assert all(problem.fix for problem in caught.value.problems)


def test_an_unknown_mode_refuses_to_start_instead_of_meaning_something() -> None:
    """Failure table row 39."""
    with pytest.raises(ConfigError, match="fallback"):
        parse_policy(bandit(fallback="onlin"))


def test_episodes_need_a_sequential_learner() -> None:
    with pytest.raises(ConfigError, match="ignores what follows"):
        parse_policy(bandit(episodes={"idle_s": 5}))

    assert parse_policy(sequential()).episodes is not None


@pytest.mark.parametrize("name", ["", "Home", "a b", "x" * 65, "../x", "a{b}"])
def test_names_that_would_break_keys_or_paths_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        parse_policy(bandit(name))


def test_the_hash_names_what_decides_and_the_fingerprint_everything() -> None:
    one, other = parse_policy(bandit()), parse_policy(bandit(reward={"wait_s": 61}))

    assert one.config_hash == other.config_hash
    assert one.fingerprint != other.fingerprint


def test_a_file_is_read_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    path.write_text('{"policy": "home", "agent": {}}')

    with pytest.raises(ConfigError, match=r"agent\.observation"):
        load_policy(path)
