"""What may be asked: estimators, constraints, targets, and what a wrong question is answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidError
from service.evaluation.command import parsed_weights
from service.evaluation.constraints import parsed
from service.evaluation.errors import EvaluationError
from service.evaluation.estimators import DEFAULTS, ESTIMATORS, Family, chosen_estimators
from service.evaluation.logic import arguments, check, failure
from service.evaluation.targets import named, version_of
from tests.service.evaluation.logs import ask, but, clicks, steers


@pytest.mark.parametrize("family", ["decisions", "episodes", "kernels"])
def test_a_log_has_estimators_that_suit_it(family: Family) -> None:
    found = chosen_estimators([], family)

    assert tuple(one.name for one in found) == DEFAULTS[family]
    assert {one.family for one in found} == {family}
    assert not found[0].is_biased or family == "kernels"


@pytest.mark.parametrize(
    ("names", "suited", "problem"),
    [
        (["dr", "snip"], "decisions", "did you mean 'snips'"),
        (["gibberish"], "decisions", "there are dr, sndr"),
        (["dr", "pdis"], "episodes", "worth different things"),
        (["dr", "dr"], "decisions", "named twice"),
        (["dr"], "kernels", "ask for kernel_dr"),
        (["kernel_ips"], "decisions", "are out of sets"),
    ],
)
def test_estimators_that_make_no_sense_are_refused(
    names: list[str], suited: Family, problem: str
) -> None:
    with pytest.raises(EvaluationError, match=problem):
        chosen_estimators(names, suited)


def test_estimators_of_decisions_may_be_asked_of_episodes() -> None:
    assert chosen_estimators(["ips"], "episodes")[0].family == "decisions"


def test_grids_begin_with_the_least_biased() -> None:
    assert ESTIMATORS["clipped_ips"].grid[0] == max(ESTIMATORS["clipped_ips"].grid)
    assert ESTIMATORS["sub_gaussian_ips"].grid[0] == 0.0
    assert ESTIMATORS["kernel_ips"].grid[0] == min(ESTIMATORS["kernel_ips"].grid)


@pytest.mark.parametrize(
    ("text", "metric", "sign", "limit"),
    [("cost<=0.1", "cost", 1.0, 0.1), (" refund >= -2e-1 ", "refund", -1.0, -0.2)],
)
def test_constraints_are_read(text: str, metric: str, sign: float, limit: float) -> None:
    found = parsed(text)

    assert (found.metric, found.sign, found.limit) == (metric, sign, limit)


@pytest.mark.parametrize("text", ["cost<0.1", "cost<=x", "<=1", "cost<=nan", "cost<=inf", ""])
def test_what_is_no_constraint_says_how_to_write_one(text: str) -> None:
    with pytest.raises(EvaluationError, match="such as cost"):
        parsed(text)


# -- targets -----------------------------------------------------------------------------------------


def test_the_uniform_target_keeps_to_what_was_allowed() -> None:
    step = clicks(1, np.ones(3))[0]

    assert named("uniform").answer(step) == pytest.approx(np.full(3, 1 / 3))
    some = but(step, allowed=np.array([True, False, True]))
    assert named("uniform").answer(some).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("behaviour", "give the probabilities of all actions, .* or evaluate a version"),
        ("logged", "add them, or evaluate another target"),
    ],
)
def test_a_target_that_the_log_must_bring_says_what_is_missing(target: str, problem: str) -> None:
    step = but(clicks(1, np.ones(3))[0], behaviour=None, target=None)

    with pytest.raises(ValueError, match=problem):
        named(target).answer(step)


@pytest.mark.parametrize("target", ["uniform", "behaviour"])
def test_over_continuous_actions_only_versions_can_be_asked(target: str) -> None:
    with pytest.raises(ValueError, match="over continuous actions; name a version, with --greedy"):
        named(target).answer(steers(1, np.zeros(1))[0])


def test_versions_are_named_with_or_without_their_policy() -> None:
    assert version_of("7", "digits") == version_of("digits@7", "digits") == 7


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("shop@7", "is a version of `shop`"),
        ("newest", "is no target"),
        ("digits@x", "is no target"),
    ],
)
def test_what_is_no_version_says_what_is(target: str, problem: str) -> None:
    with pytest.raises(EvaluationError, match=problem):
        version_of(target, "digits")


# -- jobs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"target": "shop@1"}, "/target"),
        ({"estimators": ["drr"]}, "/estimators"),
        ({"constraints": ["cost"]}, "/constraints"),
        ({"since": "yesterday"}, "/since"),
        ({"until": "2026-01-31T12:00:00"}, "/until"),
    ],
)
def test_a_wrong_field_of_a_request_is_named(changes: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidError) as refused:
        check(ask(str(changes.pop("target", "uniform")), **changes), "home")

    assert refused.value.errors[0].pointer == pointer


def test_a_sound_request_names_its_version() -> None:
    estimators = ["kernel_dr"]

    assert check(ask("home@3", estimators=estimators, since="2026-01-31T12:00:00Z"), "home") == 3
    assert check(ask("uniform"), "home") is None


def test_a_request_becomes_a_command_line() -> None:
    request = ask(
        "7",
        policy="home",
        greedy=True,
        baseline=-0.5,
        estimators=["dr", "ips"],
        weights={"click": 1.0, "dwell_s": 0.01},
        constraints=["cost<=0.1"],
    )

    written = arguments(request, Path("/x/report.json"))

    assert written[0] == "evaluate"
    assert written[-2:] == ["--", "7"]
    assert {
        "--policy=home",
        "--baseline=-0.5",
        "--estimators=dr,ips",
        '--weights={"click":1.0,"dwell_s":0.01}',
        "--constraint=cost<=0.1",
        "--greedy",
        "--json=/x/report.json",
    } <= set(written)
    assert not any(one.startswith("--since") for one in written)


def test_weights_mean_the_same_to_a_job_whatever_their_components_are_called() -> None:
    weights = {"click,late": 1.0, "a=b": 2.0, "{": 3.0, "\0": 4.0}

    written = arguments(ask("7", weights=weights), Path("report.json"))

    (option,) = [one for one in written if one.startswith("--weights=")]
    assert parsed_weights(option.removeprefix("--weights=")) == weights


def test_nothing_that_a_client_sends_can_be_an_option() -> None:
    request = ask("--html=/etc/x", policy="home", since="--json", constraints=["--seed=1"])

    written = arguments(request, Path("report.json"))

    assert written[-2:] == ["--", "--html=/etc/x"]
    assert "--since=--json" in written
    assert "--constraint=--seed=1" in written


@pytest.mark.parametrize(
    ("code", "told", "why"),
    [
        (2, "noise\ncannot evaluate: no such log\n", "no such log"),
        (-9, "", "the evaluation ended with code -9: it told nothing"),
        (1, "Traceback\nKeyError: 'x'\n", "the evaluation ended with code 1: KeyError: 'x'"),
    ],
)
def test_why_an_evaluation_failed_is_what_it_told_last(code: int, told: str, why: str) -> None:
    assert failure(code, told) == why
