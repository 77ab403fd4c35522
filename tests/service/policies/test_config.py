"""The policy file: every problem at once, each with its fix, whatever section it is in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_core.errors import ConfigError
from service.policies.config import PolicyConfig, load_policy, parse_policy
from tests.support.policies import bandit, sequential, with_agent
from tests.support.served import neural


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


def rewarded(**rule: Any) -> PolicyConfig:
    return parse_policy(bandit(reward=rule))


def test_every_contradiction_of_a_reward_rule_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        rewarded(
            components={"click": 1.0},
            guards=["complaints", "click"],
            bounds={"clikc": [0, 1], "dwell_s": [0, 1], "complaints": [0, 9]},
        )

    told = {problem.path: (problem.problem, problem.fix) for problem in caught.value.problems}
    assert told == {
        "reward.guards.1": ("'click' has a weight", "remove one of the two"),
        "reward.bounds.clikc": ("is no part of a reward", "did you mean 'click'?"),
        "reward.bounds.dwell_s": (
            "is no part of a reward",
            "declare it in `components` or `guards`",
        ),
    }


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"range": [1, 1]}, "reward.range"),
        ({"range": [2, 1]}, "reward.range"),
        ({"range": [0, float("inf")]}, "reward.range.1"),
        ({"range": [0]}, "reward.range.1"),
        ({"components": {"a": 1}, "bounds": {"a": [3, 2]}}, "reward.bounds.a"),
        ({"components": {"a": 1e13}}, "reward.components.a"),
        ({"components": {"a": float("nan")}}, "reward.components.a"),
    ],
)
def test_limits_that_hold_nothing_are_refused(rule: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rewarded(**rule)

    assert path in {problem.path for problem in caught.value.problems}


_FAST = {"kind": "fast_cb", "reward_range": [0, 5]}


@pytest.mark.parametrize(
    ("exploration", "reward", "problem"),
    [
        ({"kind": "square_cb"}, {}, r"reward.range: is missing, and 'square_cb'.*\[0, 1\]"),
        (
            {"kind": "square_cb"},
            {"range": [0, 40]},
            r"agent.exploration.reward_range: is \[0, 1\], but .*\[0, 40\].*use \[0, 40\]",
        ),
        (_FAST, {"range": [1, 5], "default": -1}, r"is \[0, 5\], but .*\[-1, 5\]"),
        ({"kind": "warm_up", "then": _FAST}, {}, "reward.range: is missing, and 'fast_cb'"),
        (
            {"kind": "warm_up", "then": _FAST},
            {"range": [0, 9]},
            r"agent.exploration.then.reward_range: .*use \[0, 9\]",
        ),
    ],
)
def test_gaps_are_weighed_by_a_range_that_is_declared(
    exploration: dict[str, Any], reward: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_policy(with_agent(bandit(reward=reward), exploration=exploration))


@pytest.mark.parametrize("exploration", [{"kind": "square_cb", "reward_range": [0, 9]}, _FAST])
def test_a_range_that_holds_all_rewards_may_be_wider(exploration: dict[str, Any]) -> None:
    # Several rewards of one decision are added up, so it earns more than each of them.
    document = with_agent(bandit(reward={"range": [1, 3]}), exploration=exploration)

    assert parse_policy(document).reward.range == (1, 3)


def test_what_transitions_share_changes_with_how_rewards_become_numbers_and_with_nothing_else() -> (
    None
):
    weights = {"click": 1.0, "dwell_s": 0.5}
    schema = rewarded(components=weights).transition_schema

    same: list[dict[str, Any]] = [
        {"components": {"dwell_s": 0.5, "click": 1}},
        {"components": weights, "guards": ["complaints"]},
        {"components": weights, "bounds": {"click": [0, 1]}, "range": [-1, 1]},
        {"components": weights, "wait_s": 5, "early_s": 7},
    ]
    other: list[dict[str, Any]] = [
        {"components": weights | {"click": 2.0}},
        {"components": weights | {"complaints": 0.0}},
        {"components": weights, "aggregation": "mean"},
        {"components": weights, "default": -1.0},
    ]
    assert {rewarded(**rule).transition_schema for rule in same} == {schema}
    assert schema not in {rewarded(**rule).transition_schema for rule in other}


def test_a_configuration_is_named_by_every_rule_that_decides() -> None:
    envelope = [{"feature": 0, "op": "<=", "value": 0.5}]
    rules: list[dict[str, Any]] = [
        {},
        {"approval": {"envelope": envelope}},
        {"approval": {"envelope": envelope, "least_confidence": 0.5}},
        {"approval": {"envelope": envelope}, "fallback": "uniform"},
        {"trips": {"least_confidence": 0.5}},
        {"rollout": {"holdback": {"share": 0.1}}},
        {"rollout": {"holdback": {"share": 0.1, "kind": "baseline"}}},
    ]
    others: list[dict[str, Any]] = [
        {"approval": {"envelope": envelope, "wait_s": 5}},
        {"rollout": {"holdback": {"share": 0.2}}},
    ]

    names = [parse_policy(neural(**rule)).config_hash for rule in rules]
    assert len({*names}) == len(rules)
    # What one of them has that does not decide changes no name, and without any it is the agent's.
    assert {parse_policy(neural(**rule)).config_hash for rule in others} <= {*names}
    assert names[0] == parse_policy(neural()).agent.config_hash


def test_a_file_is_read_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    path.write_text('{"policy": "home", "agent": {}}')

    with pytest.raises(ConfigError, match=r"agent\.observation"):
        load_policy(path)


@pytest.mark.parametrize(
    ("section", "values", "path"),
    [
        ("rollout", {"is_automatic": True}, "rollout.is_automatic"),
        ("approval", {"promotions": True}, "learning.auto_promote"),
    ],
)
def test_what_goes_live_by_itself_goes_round_nothing_that_is_declared(
    section: str, values: dict[str, Any], path: str
) -> None:
    document = bandit() | {section: values}

    with pytest.raises(ConfigError) as refused:
        parse_policy(document)

    assert [problem.path for problem in refused.value.problems] == [path]
    parse_policy(document | {"learning": {"auto_promote": False}})


def test_an_episode_must_outlast_the_person_that_is_asked() -> None:
    held = {"approval": {"least_confidence": 0.9, "otherwise": "hold", "wait_s": 60}}

    with pytest.raises(ConfigError, match=r"episodes\.idle_s"):
        parse_policy(sequential() | held)
    parse_policy(sequential() | held | {"episodes": {"idle_s": 61}})
