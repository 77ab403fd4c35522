from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent_core.config import parse_agent_config
from benchmarks.paper import settings
from benchmarks.paper.__main__ import main
from benchmarks.paper.loop import Episode
from benchmarks.paper.peers import made, peer_settings
from benchmarks.paper.results import (
    Measured,
    Outcome,
    averages,
    is_no_worse,
    marks_of,
    mean,
    standard_error,
)
from benchmarks.paper.suite import Online, Request, missing_kinds, why_not
from benchmarks.paper.suites import SUITES


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A table of 60 rows with three labels, told by the sign of two numbers."""
    rows = np.random.default_rng(0).normal(size=(60, 2))
    np.savez(tmp_path / "signs.npz", X=rows, y=(rows > 0).sum(axis=1))
    return tmp_path / "signs.npz"


@pytest.mark.parametrize("name", SUITES)
def test_every_policy_of_a_suite_is_valid(name: str, labels: Path) -> None:
    arms = SUITES[name].arms(Request(data=(labels,)))

    assert arms
    assert len({arm.name for arm in arms}) == len(arms)
    peers = [arm for arm in arms if "algorithm" in arm.agent]
    for arm in arms:
        assert arm in peers or arm.measure.why_not(arm.agent) == "", arm.name


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_judges_nothing_that_was_not_run(name: str) -> None:
    findings = SUITES[name].judge(Measured({}))

    assert all(finding.holds is None for finding in findings.values())


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_judges_what_was_measured_when_it_was_stopped(name: str, labels: Path) -> None:
    numbers = {"greedy_return": 0.5, "cost_per_step": 0.1, "behaviour_return": 0.2}
    outcome = Outcome(
        [1],
        [0.1],
        numbers | {"random_return": 0.0, "expert_return": 1.0, "highest_greedy_return": 0.6},
    )
    arms = SUITES[name].arms(Request(data=(labels,)))
    whole = {arm.name: [outcome] for arm in arms}

    for arm in whole:
        alone = SUITES[name].judge(Measured({arm: [outcome]}))
        without = SUITES[name].judge(Measured({k: v for k, v in whole.items() if k != arm}))
        for finding in (*alone.values(), *without.values()):
            assert (finding.holds is None) or (finding.measured and finding.reference)
        assert sum(one.holds is not None for one in alone.values()) < len(whole)


@pytest.mark.parametrize("name", SUITES)
def test_every_claim_is_held_against_a_number_of_the_same_name(name: str, labels: Path) -> None:
    numbers = {"greedy_return": 0.5, "cost_per_step": 0.1, "behaviour_return": 0.2}
    limits = {"random_return": 0.0, "expert_return": 1.0, "highest_greedy_return": 0.6}
    outcome = Outcome([10_000, 20_000, 30_000], [0.1, 0.3, 0.5], numbers | limits)
    arms = SUITES[name].arms(Request(data=(labels,)))

    findings = SUITES[name].judge(Measured({arm.name: [outcome] for arm in arms}))

    for finding in findings.values():
        assert finding.holds is not None
        assert finding.reference
        assert finding.reference.keys() <= finding.measured.keys()


def test_a_claim_without_a_number_is_not_measured() -> None:
    outcome = Outcome([1], [None], {"greedy_return": 200.0})

    findings = SUITES["dynamic_actions"].judged({"CartPole-v1: dqn": [outcome]})

    assert findings["CartPole-v1: dqn learns"].holds is None
    assert findings["CartPole-v1: dqn learns"].measured == {}


def test_a_look_at_what_is_learned_changes_nothing_and_the_highest_is_kept() -> None:
    agent = settings.value_based(gymnasium.make("CartPole-v1"), "dqn", hidden=[4])
    online = partial(Online, partial(gymnasium.make, "CartPole-v1"), greedy=2)

    early, late, both = (
        one(agent, 0, lambda: None)
        for one in (online(ticks=80), online(ticks=160), online(ticks=160, greedy_every=80))
    )

    looks = (early.numbers["greedy_return"], late.numbers["greedy_return"])
    assert both.values == late.values
    assert both.numbers["greedy_return"] == looks[1]
    assert both.numbers["highest_greedy_return"] == max(looks)
    assert "highest_greedy_return" not in late.numbers


def test_a_history_reaches_500_if_it_does_so_in_every_seed() -> None:
    def looks(*highest: float) -> list[Outcome]:
        numbers = ({"greedy_return": 300.0, "highest_greedy_return": one} for one in highest)
        return [Outcome([1], [250.0], one) for one in numbers]

    outcomes = {"LSTM": looks(500.0, 500.0), "GRU": looks(500.0, 499.9), "no history": looks(40.0)}

    findings = SUITES["partial_cartpole"].judge(Measured(outcomes))

    assert findings["LSTM reaches 500"].holds
    assert not findings["GRU reaches 500"].holds
    assert findings["transformer reaches 500"].holds is None
    assert findings["DQN without a history fails"].holds


def test_reinforce_is_held_against_the_mean_of_the_other_learners() -> None:
    returns = {"dqn": 300.0, "discrete_sac": 500.0, "ppo": 400.0, "reinforce": 145.0}
    outcomes = {
        f"CartPole-v1: {kind}": [Outcome([1], [one], {"greedy_return": one})]
        for kind, one in returns.items()
    }

    findings = SUITES["dynamic_actions"].judge(Measured(outcomes))

    # (300 + 500 + 400) / 3 = 400
    assert findings["CartPole-v1: reinforce falls behind"].reference == {"return": 400.0}
    assert findings["CartPole-v1: reinforce falls behind"].holds
    assert findings["Acrobot-v1: reinforce falls behind"].holds is None


def test_a_module_that_is_not_there_is_named() -> None:
    agent = settings.value_based(gymnasium.make("CartPole-v1"), "no_such_learner")

    assert missing_kinds(agent) == ["policy_learner no_such_learner"]
    assert why_not(agent) == "not available: policy_learner no_such_learner"


def test_a_setting_that_is_not_there_is_named() -> None:
    agent = settings.value_based(gymnasium.make("CartPole-v1"), "dqn", haste=1)

    assert "policy_learner.haste" in why_not(agent)


def test_continuous_actions_are_sized_by_their_limits() -> None:
    sizes = settings.sized(gymnasium.make("Pendulum-v1"))

    assert sizes["actions"] == {"kind": "box", "low": [-2.0], "high": [2.0]}
    assert sizes["observation"] == {"kind": "vector", "dim": 3}


def test_the_settings_are_those_of_the_paper() -> None:
    config = parse_agent_config(settings.value_based(gymnasium.make("CartPole-v1"), "dqn"))

    assert config.schedule.batch_size == 32
    assert config.replay is not None
    assert config.replay.room == 50_000
    assert config.policy_learner.model_dump()["learning_rate"] == 1e-3


def test_the_peer_of_continuous_control_has_the_settings_that_we_have() -> None:
    arms = {arm.name: arm for arm in SUITES["control"].arms(Request())}

    for kind in ("sac", "ddpg", "td3"):
        ours = parse_agent_config(dict(arms[f"Hopper-v5: {kind}"].agent))
        peer = arms[f"Hopper-v5: {kind} of stable-baselines3"].agent
        learner, replay = ours.policy_learner.model_dump(), ours.replay
        assert replay is not None
        assert learner["learning_rate"] == peer["learning_rate"]
        assert learner["target_mix"] == peer["tau"]
        assert list(learner["hidden"]) == peer["policy_kwargs"]["net_arch"]
        assert ours.schedule.batch_size == peer["batch_size"]
        assert replay.room == peer["buffer_size"]
        assert ours.schedule.warmup_transitions == peer["learning_starts"]
        assert ours.exploration.model_dump()["transitions"] == peer["learning_starts"]


def test_a_peer_that_changes_what_it_is_given_leaves_the_settings_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Adds:
        def __init__(self, *_: Any, policy_kwargs: dict[str, Any], **__: Any) -> None:
            policy_kwargs["use_sde"] = False

    monkeypatch.setitem(sys.modules, "stable_baselines3", SimpleNamespace(SAC=Adds))
    settings = peer_settings("sac")

    made(settings, gymnasium.make("Pendulum-v1"), seed=0)

    assert settings == peer_settings("sac")


def test_what_is_learned_from_a_log_counts_its_steps_and_its_updates() -> None:
    arms = {arm.name: arm for arm in SUITES["offline"].arms(Request())}

    # 100,000 steps and half as many updates; as many updates as steps for CartPole.
    assert arms["Hopper-v5: iql"].measure.ticks == 150_000
    assert arms["CartPole-v1: cql"].measure.ticks == 40_000


# -- results ------------------------------------------------------------------------------------


def episode(end_step: int, total: float) -> Episode:
    return Episode(end_step, 1, total, 0.0)


def test_a_point_of_the_curve_is_the_mean_of_what_ended_in_the_window() -> None:
    episodes = [episode(5, 1.0), episode(10, 2.0), episode(11, 6.0), episode(30, 9.0)]

    # (0, 10] holds 1 and 2; (10, 20] holds 6; (20, 30] holds 9; nothing ended in (30, 40].
    assert averages(episodes, [10, 20, 30, 40], window=10) == [1.5, 6.0, 9.0, None]


def test_a_curve_has_a_point_at_its_end() -> None:
    assert marks_of(30, 10) == [10, 20, 30]
    assert marks_of(25, 10) == [10, 20, 25]
    assert marks_of(5, 10) == [5]


def test_means_and_errors_are_over_the_seeds() -> None:
    outcomes = [Outcome([10, 20], [1.0, 2.0]), Outcome([10, 20], [3.0, None])]
    measured = Measured({"arm": outcomes})

    assert measured.at("arm", 10) == [1.0, 3.0]
    assert measured.last("arm") == [2.0, 3.0]
    assert mean([1.0, 3.0]) == 2.0
    # Deviations of 1 and 1: sqrt(2 / (2 - 1)) / sqrt(2) = 1
    assert standard_error([1.0, 3.0]) == 1.0
    assert standard_error([4.0]) == 0.0


def test_no_worse_means_behind_by_a_few_standard_errors_of_the_difference() -> None:
    # Deviations of 3 and 4 in the two means make one of 5 in their difference.
    ours, theirs = ({"return": r, "standard_error": e} for r, e in ((90.0, 3.0), (100.0, 4.0)))

    assert is_no_worse(ours, theirs, "return", errors=2.0)
    assert not is_no_worse(ours, theirs, "return", errors=1.9)
    assert is_no_worse(theirs, ours, "return", errors=0.0)


# -- the whole of it ----------------------------------------------------------------------------


def test_a_run_writes_its_result_with_the_command_and_the_curves(
    labels: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    asked = ["--only", "uci_bandits", "--seeds", "2", "--steps", "300"]

    main([*asked, "--data", str(labels), "--json", str(file)])

    result = json.loads(file.read_text())
    assert result["command"].startswith("make bench-paper ARGS='--only uci_bandits --seeds 2")
    assert set(result["headline"]) == {
        f"signs: {name} matches the offline learner" for name in ("LinUCB", "LinTS", "SquareCB")
    }
    assert all(type(one["holds"]) is bool for one in result["headline"].values())
    assert result["unavailable"] == {}
    assert [len(seeds) for seeds in result["outcomes"].values()] == [2, 2, 2, 2]
    assert all(one["skipped"] == 0 for seeds in result["outcomes"].values() for one in seeds)
    assert file.with_suffix(".png").stat().st_size > 0
    assert result["policies"]["signs: LinUCB"]["policy_learner"]["kind"] == "neural_linear"


def test_a_run_goes_on_from_what_was_measured_with_the_same_settings(
    labels: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    asked = ["--only", "uci_bandits", "--data", str(labels), "--json", str(file), "--resume"]
    main([*asked, "--seeds", "1", "--steps", "200"])
    known = json.loads(file.read_text())["outcomes"]

    main([*asked, "--seeds", "2", "--steps", "200"])
    more = json.loads(file.read_text())["outcomes"]
    main([*asked, "--seeds", "1", "--steps", "300"])
    longer = json.loads(file.read_text())

    assert {arm: found[:1] for arm, found in more.items()} == known
    assert [len(found) for found in more.values()] == [2, 2, 2, 2]
    assert [len(found) for found in longer["outcomes"].values()] == [1, 1, 1, 1]
    assert set(longer["ticks"].values()) == {300}


@pytest.mark.parametrize(("lowest", "falls"), [(0.3, True), (0.7, False)])
def test_costs_fall_when_each_limit_has_a_lower_one_than_the_limit_above(
    lowest: float, falls: bool
) -> None:
    costs = {"": 4.0, ", cost at most 1": 0.9, ", cost at most 0.5": 0.6}
    costs[", cost at most 0.25"] = lowest
    outcomes = {
        f"Pendulum-v1: ddpg{limit}": [Outcome([1], [0.0], {"cost_per_step": one})]
        for limit, one in costs.items()
    }

    finding = SUITES["constraints"].judge(Measured(outcomes))[
        "Pendulum-v1: ddpg, the cost falls with the limit"
    ]

    assert finding.holds is falls
    assert finding.reference["limit 1"] == 4.0
    assert finding.measured["limit 1"] == finding.reference["limit 0.5"] == 0.9


def test_one_file_takes_one_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--json", str(tmp_path / "all.json")])

    assert re.search("name it with --only", capsys.readouterr().err)
