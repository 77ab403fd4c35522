"""`nacre evaluate` on files and on live logs: what it writes, and what it ends with."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from agent_core.agent import Agent, seed_of
from agent_core.snapshot import restore_policy
from agent_core.types import ActionSet
from service.evaluation.command import STDOUT, Output, run_evaluate
from service.evaluation.export_command import run_export
from service.evaluation.targets import Version
from service.policies.artefacts import ArtefactStore
from service.policies.config import parse_policy
from service.settings import Settings
from tests.service.evaluation.logs import IDS, but, clicks
from tests.service.evaluation.shop import open_shop
from tests.support.api import settings_for
from tests.support.policies import bandit, steering

_ONE_HOT = np.eye(3, 4, dtype=np.float32)
"""As the policy represents a, b and c: the last number stands for all others."""
_NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def offline(tmp_path: Path) -> Settings:
    """Settings of somebody who has a log file and no Redis."""
    return settings_for(_NO_REDIS, tmp_path)


def _row(i: int, **changes: Any) -> dict[str, Any]:
    action = "abc"[i % 3]
    return {
        "decision_id": f"d{i}",
        "at": f"2026-01-31T12:{i // 60:02d}:{i % 60:02d}Z",
        "observation": {"vector": [0.1 * (i % 7), 1.0]},
        "actions": ["a", "b", "c"],
        "action_id": action,
        "propensity": 1 / 3,
        "reward": float(action == "c"),
        "components": {"click": float(action == "c")},
        "target_probabilities": [0.1, 0.1, 0.8],
    } | changes


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


def _run(
    settings: Settings,
    target: str,
    log: object = "live",
    output: Output | None = None,
    **options: Any,
) -> int:
    asked = {"target": target, "baseline": "logged"} | options
    return run_evaluate(settings, asked, (str(log), None), 1, output or Output())


def _report(
    settings: Settings, folder: Path, target: str, log: object = "live", **options: Any
) -> Any:
    path = folder / "report.json"
    code = _run(settings, target, log, Output(json=path), **options)
    report = json.loads(path.read_bytes())
    assert code == (0 if report["verdict"] == "better" else 1)
    return report


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_a_log_file_is_evaluated_without_redis(
    offline: Settings, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = _write(tmp_path / name, [_row(i) for i in range(600)])

    page = tmp_path / "report.html"
    code = _run(offline, "logged", log, Output(html=page))

    assert code == 0
    # The target takes the third action, which alone earns 1, with 0.8 instead of 1/3.
    assert "0.8" in capsys.readouterr().out
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_what_is_not_better_ends_with_1(offline: Settings, tmp_path: Path) -> None:
    log = _write(tmp_path / "log.jsonl", [_row(i) for i in range(300)])

    assert _run(offline, "uniform", log) == 1


def test_json_on_standard_output_is_all_there_is(
    offline: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = _write(tmp_path / "log.jsonl", [_row(i) for i in range(60)])

    _run(offline, "logged", log, Output(json=STDOUT))

    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 60
    assert report["log"] == str(log)


def test_a_bad_line_is_named_and_costs_no_other(offline: Settings, tmp_path: Path) -> None:
    rows = [_row(i) for i in range(30)]
    del rows[4]["propensity"]
    log = _write(tmp_path / "log.jsonl", rows)

    report = _report(offline, tmp_path, "logged", log)

    assert report["rows"] == 29
    assert report["refused"][0]["row"] == "log.jsonl:5"
    assert "propensity" in report["refused"][0]["why"]


def test_rewards_can_be_weighed_anew(offline: Settings, tmp_path: Path) -> None:
    rows = [_row(i) for i in range(30)]
    del rows[0]["components"]
    rows[1]["components"] = {"dwell_s": 3.0}
    log = _write(tmp_path / "log.jsonl", rows)

    report = _report(offline, tmp_path, "uniform", log, weights="click=3")

    # 10 clicks in 28 rows are left, worth 3 each.
    assert report["rows"] == 28
    assert report["logged"] == pytest.approx(30 / 28)
    assert report["reward_weights"] == {"click": 3.0}
    assert report["skipped"] == {"refused": 2}
    whys = [one["why"] for one in report["refused"]]
    assert "no components to weigh" in whys[0]
    assert "`dwell_s` has no weight" in whys[1]


def test_components_with_commas_in_their_names_are_weighed_in_json(
    offline: Settings, tmp_path: Path
) -> None:
    rows = [_row(i) | {"components": {"click,late": 1.0}} for i in range(30)]
    log = _write(tmp_path / "log.jsonl", rows)

    report = _report(offline, tmp_path, "uniform", log, weights='{"click,late": 3}')

    assert report["logged"] == pytest.approx(3.0)
    assert report["reward_weights"] == {"click,late": 3.0}


def test_a_period_is_cut_out(offline: Settings, tmp_path: Path) -> None:
    log = _write(tmp_path / "log.jsonl", [_row(i) for i in range(60)])

    report = _report(
        offline, tmp_path, "logged", log, since="2026-01-31T12:00:10Z", until="2026-01-31T12:00:19Z"
    )

    assert report["rows"] == 10
    assert report["skipped"] == {"out_of_period": 50}


def test_a_policy_file_says_how_rows_are_encoded(offline: Settings, tmp_path: Path) -> None:
    policy = tmp_path / "home.json"
    policy.write_text(json.dumps(bandit()), "utf-8")
    log = _write(tmp_path / "log.jsonl", [_row(0), _row(1, observation={"vector": [1.0]})])

    report = _report(offline, tmp_path, "logged", log, policy=str(policy))

    assert (report["policy"], report["rows"]) == ("home", 1)
    assert report["refused"][0]["row"] == "log.jsonl:2"


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("logged", {"estimators": ["drr"]}, "there is no estimator `drr`; did you mean 'dr'"),
        ("logged", {"delta": 0.7}, "`$.delta`"),
        ("logged", {"delta": float("nan")}, "`$.delta`"),
        ("logged", {"bound": "hoeffding"}, "`$.bound`"),
        ("logged", {"effective_rows": 3}, "`$.effective_rows`"),
        ("logged", {"baseline": "good"}, "neither a number nor `logged`"),
        ("logged", {"weights": "click"}, "`click` is no weight"),
        ("logged", {"weights": "click,late=1"}, 'for a name with a comma: {"click": 1}'),
        ("logged", {"weights": '{"click": "1"}'}, "write a component and a number"),
        ("logged", {"weights": "click=1e300"}, "<= 1000000000000.0"),
        ("logged", {"delta": 1e-17}, "`$.delta`"),
        ("logged", {"since": "2026-01-31"}, "write a time with its zone"),
        ("logged", {"constraints": ["cost"]}, "`cost` is no constraint"),
        ("logged", {"constraints": ["clock<=1"]}, "did you mean 'click'"),
        ("logged", {"greedy": True}, "leave out --greedy"),
    ],
)
def test_a_wrong_question_ends_with_2_and_says_what_to_do(
    offline: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    options: dict[str, Any],
    told: str,
) -> None:
    log = _write(tmp_path / "log.jsonl", [_row(i) for i in range(3)])

    assert _run(offline, target, log, **options) == 2

    assert told in capsys.readouterr().err


def test_a_log_that_is_not_there_is_named(
    offline: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.txt").touch()

    assert _run(offline, "logged", tmp_path / "none.jsonl") == 2
    assert _run(offline, "logged", tmp_path / "log.txt") == 2
    log = (str(tmp_path), "csv")
    assert run_evaluate(offline, {"target": "logged", "baseline": "logged"}, log, 1, Output()) == 2

    missing, unknown, no_format = capsys.readouterr().err.splitlines()
    assert "none.jsonl does not exist" in missing
    assert "add --format" in unknown
    assert "`csv` is none of archive, jsonl, dsjson" in no_format


def test_a_redis_that_is_away_is_told(
    offline: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(offline, "uniform") == 2

    assert "cannot evaluate" in capsys.readouterr().err


# -- registered policies -----------------------------------------------------------------------------


async def test_a_version_is_evaluated_on_the_live_log(redis_url: str, tmp_path: Path) -> None:
    async with open_shop(redis_url, tmp_path) as shop:
        await shop.trade(40)

        report = await asyncio.to_thread(_report, shop.settings, tmp_path, "home@1")

    # The first version knows nothing: epsilon-greedy with ties is uniform, which is what was done.
    assert (report["target"], report["policy"], report["rows"]) == ("home@1", "home", 40)
    assert report["logged"] == 0.5
    assert report["value"] == pytest.approx(0.5, abs=0.01)
    assert report["weights"]["overlap"] == pytest.approx(1.0)
    assert report["log"] == "the live log of home"


async def test_a_version_is_evaluated_on_an_export_as_on_the_log(
    redis_url: str, tmp_path: Path
) -> None:
    exported = tmp_path / "log.jsonl"
    async with open_shop(redis_url, tmp_path) as shop:
        await shop.trade(40)

        def both() -> tuple[Any, Any]:
            run_export(shop.settings, exported, "home", "live", (None, None))
            live = _report(shop.settings, tmp_path, "home@1")
            return live, _report(shop.settings, tmp_path, "home@1", exported)

        live, again = await asyncio.to_thread(both)

    assert again["rows"] == 40
    assert (again["value"], again["lower"]) == (live["value"], live["lower"])


async def test_what_another_system_did_is_a_log_of_its_own(redis_url: str, tmp_path: Path) -> None:
    async with open_shop(redis_url, tmp_path) as shop:
        await shop.trade(2)
        for i in range(20):
            await shop.world.write(shop.world.shadow(f"s{i}"))
            await shop.world.reward(f"s{i}", 1.0)
        await shop.world.join(at_ms=shop.world.deadline_ms)

        def run() -> Any:
            return _report(shop.settings, tmp_path, "1", kind="shadow")

        report = await asyncio.to_thread(run)

    # It took b with 0.25, and the first version takes it with 0.5.
    assert report["rows"] == 20
    assert report["weights"]["mean"] == pytest.approx(2.0)
    assert report["skipped"] == {"made_by_this_policy": 2}


async def test_an_archive_is_evaluated_from_its_folder(redis_url: str, tmp_path: Path) -> None:
    async with open_shop(redis_url, tmp_path) as shop:
        await shop.trade(20)
        await shop.archive()

        def run(folder: Path) -> Any:
            return _report(shop.settings, tmp_path, "uniform", folder, policy="home")

        of_all = await asyncio.to_thread(run, shop.settings.archive)
        of_one = await asyncio.to_thread(run, shop.settings.archive / "home")

    assert of_all["rows"] == of_one["rows"] == 20
    assert of_one["log"] == str(shop.settings.archive / "home")


def test_a_log_of_another_system_is_evaluated(offline: Settings, tmp_path: Path) -> None:
    rows = [
        {
            "_label_cost": -float(i % 2),
            "_label_probability": 0.5,
            "_label_Action": 1 + i % 2,
            "_labelIndex": i % 2,
            "EventId": f"e{i}",
            "Timestamp": "2026-01-31T12:00:00Z",
            "a": [1 + i % 2, 2 - i % 2],
            "p": [0.5, 0.5],
            "c": {"User": {"age": 30}, "_multi": [{"Item": {"x": 1}}, {"Item": {"y": 1}}]},
        }
        for i in range(20)
    ]
    log = _write(tmp_path / "log.dsjson", rows)

    report = _report(offline, tmp_path, "behaviour", log)

    assert (report["rows"], report["logged"], report["value"]) == (
        20,
        0.5,
        pytest.approx(0.5, abs=0.01),
    )


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("9", {}, "`home` has no version 9; 1 to 1 are kept"),
        ("shop@1", {"policy": "home"}, "is a version of `shop`"),
        ("1", {"policy": "shop"}, "policy `shop` is not registered"),
        ("best", {}, "`best` is no target"),
    ],
)
async def test_a_version_that_is_not_there_is_named(
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    options: dict[str, Any],
    told: str,
) -> None:
    async with open_shop(redis_url, tmp_path) as shop:

        def run() -> int:
            return _run(shop.settings, target, **options)

        assert await asyncio.to_thread(run) == 2

    assert told in capsys.readouterr().err


async def test_a_continuous_policy_is_evaluated_without_exploration(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_shop(redis_url, tmp_path, steering()) as shop:

        def run(*, greedy: bool) -> int:
            return _run(shop.settings, "1", greedy=greedy)

        assert await asyncio.to_thread(run, greedy=False) == 2
        assert await asyncio.to_thread(run, greedy=True) == 1

    assert "add --greedy" in capsys.readouterr().err


async def test_a_version_answers_as_the_server_would(redis_url: str, tmp_path: Path) -> None:
    async with open_shop(redis_url, tmp_path) as shop:
        meta = await shop.world.policies.meta(shop.keys)
    assert meta is not None
    version = Version("home", 1, meta.config, shop.settings.artefacts)
    config = parse_policy(bandit()).agent
    snapshot = ArtefactStore(shop.settings.artefacts).load("home", 1)
    agent = Agent(config, restore_policy(snapshot, config), experience=0)

    steps = [but(step, actions=ActionSet(IDS, _ONE_HOT)) for step in clicks(5, np.ones(3))]
    for step in steps:
        seed = seed_of(step.decision_id, "home")
        decision = agent.act(step.state, step.actions, agent.prepare(step.actions), seed=seed)
        assert version.answer(step).tolist() == decision.probabilities.tolist()

    some = but(steps[0], allowed=np.array([False, True, True]))
    assert version.answer(some).tolist() == [0.0, 0.5, 0.5]
    for wrong, problem in (
        ({"state": np.zeros(1, np.float32)}, "the state has 1 numbers and home@1 takes 2"),
        (
            {"actions": ActionSet(IDS, _ONE_HOT[:, 1:])},
            "each action has 3 numbers and home@1 takes 4",
        ),
        ({"allowed": np.zeros(3, bool)}, "its fallback would have decided"),
    ):
        with pytest.raises(ValueError, match=problem):
            version.answer(but(steps[0], **wrong))


async def test_nothing_is_asked_of_redis_that_the_log_knows(
    redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    log = _write(tmp_path / "log.jsonl", [_row(i) for i in range(30)])

    report = await asyncio.to_thread(
        _report, settings_for(redis_url, tmp_path), tmp_path, "behaviour", log
    )

    assert report["policy"] is None
    assert await redis_client.dbsize() == 0
    assert report["skipped"] == {"target_cannot_say": 30}
