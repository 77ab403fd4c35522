"""What is decided about evaluation jobs. No Redis, no clock, no processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from service.clock import parse_ms
from service.errors import InvalidError
from service.evaluation.constraints import parsed
from service.evaluation.errors import EvaluationError
from service.evaluation.estimators import chosen_estimators, known
from service.evaluation.schemas import EvaluationRequest
from service.evaluation.targets import WITHOUT_REGISTRY, version_of


def check(request: EvaluationRequest, policy: str) -> int | None:
    """The version that is asked about; None for a target that needs none.

    Raises:
        InvalidError: a field cannot be meant so, whatever the log is.
    """
    _checked("/constraints", lambda: [parsed(one) for one in request.constraints])
    _checked("/estimators", lambda: _check_estimators(request.estimators))
    for name, moment in (("since", request.since), ("until", request.until)):
        if moment is not None:
            _check_time(f"/{name}", moment)
    if request.target in WITHOUT_REGISTRY:
        return None
    try:
        return version_of(request.target, policy)
    except EvaluationError as error:
        raise InvalidError("/target", str(error)) from None


def _checked(pointer: str, read: Callable[[], object]) -> None:
    try:
        read()
    except EvaluationError as error:
        raise InvalidError(pointer, str(error)) from None


def _check_estimators(names: list[str]) -> None:
    """What suits the log is known when it is read; whether they suit each other, now."""
    if names:
        chosen_estimators(names, "kernels" if known(names[0]).family == "kernels" else "decisions")


def _check_time(pointer: str, moment: str) -> None:
    try:
        parse_ms(moment)
    except ValueError:
        detail = "it is no RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z"
        raise InvalidError(pointer, detail) from None


def arguments(request: EvaluationRequest, report: Path) -> list[str]:
    """The command line of `nacre` that answers a request into the file `report`.

    Values stand behind an equals sign, and the target behind `--`: none of them can be taken for an option.
    """
    weights = request.weights
    options = {
        "policy": request.policy,
        "kind": request.kind,
        "baseline": _text(request.baseline),
        "estimators": ",".join(request.estimators),
        "delta": _text(request.delta),
        "bound": request.bound,
        "effective-rows": _text(request.effective_rows),
        "since": request.since,
        "until": request.until,
        "weights": None if weights is None else msgspec.json.encode(weights).decode(),
        "seed": str(request.seed),
        "json": str(report),
    }  # fmt: skip
    written = [f"--{name}={value}" for name, value in options.items() if value is not None]
    written += [f"--constraint={one}" for one in request.constraints]
    if request.greedy:
        written.append("--greedy")
    return ["evaluate", *written, "--", request.target]


def _text(number: float | str) -> str:
    return number if isinstance(number, str) else repr(number)


def failure(code: int, told: str) -> str:
    """Why an evaluation ended without a report, from its exit code and the end of what it told."""
    lines = [line for line in told.strip().splitlines() if line.strip()]
    last = lines[-1].removeprefix("cannot evaluate: ") if lines else "it told nothing"
    return last if code == 2 else f"the evaluation ended with code {code}: {last}"
