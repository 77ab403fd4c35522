"""Whether an evaluation lets a candidate into its canary."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from service.evaluation.schemas import EvaluationJob, EvaluationReport, EvaluationRequest
from service.policies.config import parse_policy
from service.rollout.gate import Standing, find, request_for
from service.rollout.rule import GateRule
from tests.service.rollout.reports import report
from tests.support.policies import bandit, sequential

RULE = GateRule(margin=0.02, effective_rows=100, growth=2, constraints=("cost<=0.1",))
ENOUGH = Standing(rewards=500, grown=1.0, live_mean=0.3, live_rewards=500)


def job(
    status: str = "done",
    found: EvaluationReport | None = None,
    error: str = "",
    request: EvaluationRequest | None = None,
) -> EvaluationJob:
    known: dict[str, Any] = {"job_id": "j", "policy": "home", "status": status, "report": found}
    return EvaluationJob(
        **known,
        error=error,
        request=request or EvaluationRequest(target="2", baseline=0.28),
        asked_by="rollout",
        created_at="",
    )


def test_the_baseline_is_the_mean_of_the_live_version_less_the_margin() -> None:
    asked = request_for(parse_policy(bandit()), 2, "2026-01-01T00:00:00.000Z", ENOUGH, RULE)

    assert asked.baseline == pytest.approx(0.28)
    assert (asked.target, asked.since) == ("2", "2026-01-01T00:00:00.000Z")
    assert (asked.delta, asked.effective_rows) == (0.05, 100.0)
    assert asked.constraints == ["cost<=0.1"]
    # What is asked for can be read where it is carried out.
    assert msgspec.json.decode(msgspec.json.encode(asked), type=EvaluationRequest) == asked


@pytest.mark.parametrize(
    ("standing", "state", "why"),
    [
        (ENOUGH, "unasked", "500 rewards"),
        (Standing(500, 1.0, 0.3, 99), "waiting", "the live version has 99 rewards of 100 needed"),
        (Standing(99, 1.0, 0.3, 500), "waiting", "have 99 rewards of 100 needed"),
    ],
)
def test_it_is_asked_for_once_there_are_rewards(standing: Standing, state: str, why: str) -> None:
    found = find(None, standing, RULE, is_out_of_patience=False)

    assert found.state == state
    assert why in found.why


GROWN = Standing(1_000, 2.0, 0.3, 500)


@pytest.mark.parametrize(
    ("asked", "standing", "state"),
    [
        (job("queued"), ENOUGH, "waiting"),
        (job("running"), GROWN, "waiting"),
        (job("failed", error="no log"), ENOUGH, "waiting"),
        (job("failed", error="no log"), GROWN, "unasked"),
        (job(found=report("better", 0.5)), ENOUGH, "go"),
        (job(found=report("not enough evidence", 0.1)), GROWN, "unasked"),
        (job(found=report("not enough evidence", 0.1)), ENOUGH, "waiting"),
        (job(found=report("estimators disagree", 0.1)), ENOUGH, "waiting"),
        (job(found=report("no solution found", 0.1)), ENOUGH, "waiting"),
        (job(found=report("not shown to be better", 0.27, 0.279)), ENOUGH, "stop"),
        (job(found=report("not shown to be better", 0.27, 0.281)), ENOUGH, "waiting"),
        (job(found=report("not shown to be better", None)), ENOUGH, "waiting"),
    ],
)
def test_what_was_found_decides(asked: EvaluationJob, standing: Standing, state: str) -> None:
    found = find(asked, standing, RULE, is_out_of_patience=False)

    assert found.state == state
    assert found.why


def test_patience_ends_but_not_while_an_answer_is_awaited() -> None:
    unclear = job(found=report("not enough evidence"))

    assert find(unclear, GROWN, RULE, is_out_of_patience=True).state == "stop"
    assert find(None, ENOUGH, RULE, is_out_of_patience=True).state == "stop"
    assert find(job("running"), ENOUGH, RULE, is_out_of_patience=True).state == "waiting"
    better = job(found=report("better", 0.5))
    assert find(better, ENOUGH, RULE, is_out_of_patience=True).state == "go"


def test_episodes_are_held_against_the_mean_of_the_log() -> None:
    """Its mean is 0.28, so with a margin of 0.02 a bound of 0.26 will do."""
    asked = request_for(parse_policy(sequential()), 2, "2026-01-01T00:00:00.000Z", ENOUGH, RULE)
    states = [
        find(
            job(found=report("not shown to be better", 0.5, lower=lower), request=asked),
            ENOUGH,
            RULE,
            is_out_of_patience=False,
        ).state
        for lower in (0.26, 0.259, None)
    ]

    assert asked.baseline == "logged"
    assert states == ["go", "waiting", "waiting"]


def test_an_interval_that_does_not_know_its_bias_stops_nobody() -> None:
    trusted, biased = report("not shown to be better", 0.1, 0.5).estimates
    biased = msgspec.structs.replace(biased, is_biased=True)
    found = report("not shown to be better", estimates=[trusted, biased])
    only = report("not shown to be better", estimates=[biased])

    states = [
        find(job(found=f), ENOUGH, RULE, is_out_of_patience=False).state for f in (found, only)
    ]

    assert states == ["stop", "waiting"]


def test_it_says_what_was_found_and_what_was_expected() -> None:
    found = find(
        job(found=report("better", 0.5, lower=0.29)), ENOUGH, RULE, is_out_of_patience=False
    )

    assert found.why == "lower bound 0.29 against 0.28, on 500 rows worth 120.0 of its own"
