"""Forms are tried before they are used: a wrong one is refused, a failing one is left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.training.engine import trial
from agent_core.training.engine.program import owner_of
from agent_core.training.engine.routing import Precision
from agent_core.training.engine.trial import fastest
from tests.support.engine import SlowLearner, Work, as_it_is, batch_of, small, work_of
from tests.support.learners import fingerprint


def _compiler(monkeypatch: pytest.MonkeyPatch, compiler: Callable[..., Any]) -> None:
    monkeypatch.setattr(torch._inductor, "compile", compiler)


def _off_by(error: float) -> Callable[..., Any]:
    """A compiler whose programs move the first weights too far."""

    def compiler(
        graph: Callable[..., Any], example: Sequence[torch.Tensor], options: object
    ) -> Callable[..., Any]:
        del example, options

        def spoiled(*arguments: torch.Tensor) -> Any:
            results = graph(*arguments)
            arguments[0].mul_(1 + error)
            return results

        return spoiled

    return compiler


def _missing(graph: object, example: object, options: object) -> None:
    raise RuntimeError("g++: not found\nand 300 lines more")


@pytest.fixture
def work() -> Work:
    return Work(SlowLearner().update, batch_of(DqnConfig(), 3), 3)


def test_a_faster_form_with_the_same_numbers_is_chosen(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    _compiler(monkeypatch, as_it_is)

    chosen = fastest(*work, "full")

    assert chosen.name.startswith("compiled, matmul ")
    assert chosen.speed > 1


def test_the_learner_is_left_as_it_is(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    _compiler(monkeypatch, as_it_is)
    before = fingerprint(owner_of(work.step).training_state())

    fastest(*work, "full")

    assert fingerprint(owner_of(work.step).training_state()) == before


@pytest.mark.parametrize(
    ("error", "precision", "is_refused"),
    [
        (1e-2, "full", True),
        (1e-3, "bf16", False),  # 34 blocks of 3 updates are off by 3 percent then
        (0.2, "bf16", True),
        (float("nan"), "bf16", True),
    ],
)
def test_a_form_that_gives_other_numbers_is_refused(
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: float,
    precision: Precision,
    is_refused: bool,
) -> None:
    _compiler(monkeypatch, _off_by(error))

    chosen = fastest(*work, precision)

    assert (chosen.program is None) == is_refused
    assert ("are refused: they differ by" in caplog.text) == is_refused


def test_a_compiler_that_fails_leaves_the_plain_form_and_says_so(
    work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _compiler(monkeypatch, _missing)

    with caplog.at_level(logging.INFO):
        chosen = fastest(*work, "full")

    assert chosen.name.startswith("plain, matmul ")
    assert "updates are not compiled: RuntimeError: g++: not found" in caplog.messages


def test_a_form_that_fails_when_it_is_run_is_refused_and_the_others_are_tried(
    work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crashing(graph: object, example: object, options: object) -> Callable[..., Any]:
        del graph, example, options
        return lambda *arguments: _missing(*arguments[:3])

    _compiler(monkeypatch, crashing)

    chosen = fastest(*work, "full")

    assert chosen.name.startswith("plain, matmul ")
    assert "are refused: RuntimeError: g++: not found" in caplog.text


def test_a_form_is_tried_at_the_place_in_a_period_that_it_was_built_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _compiler(monkeypatch, as_it_is)
    monkeypatch.setitem(trial._LONG_TOLERANCE, "full", 1e-4)
    # Copies of the target fall on updates 2, then on 4 and 6, then on 8, ...
    tame = {"learning_rate": 0.05, "huber_bend": 1.0, "max_gradient_norm": 10.0}
    copying = small(DqnConfig, target_period_updates=2, target_mix=1.0, **tame)
    work = work_of(copying, 3)

    fastest(*work, "full")

    assert "are refused" not in caplog.text
