"""Reports of evaluations, as the gate reads them."""

from __future__ import annotations

from typing import Any

from service.evaluation.schemas import EstimateReport, EvaluationReport


def report(verdict: str, *highs: float | None, **about: Any) -> EvaluationReport:
    """Against a baseline of 0.28; `highs`: of the estimators' intervals."""
    known: dict[str, Any] = {
        "policy": "home", "target": "home@2", "log": "live", "verdict": verdict, "reasons": ["so it is"],
        "unit": "decision", "baseline": 0.28, "value": 0.3, "lower": 0.25 if verdict != "better" else 0.29, "bound": "betting", "delta": 0.05,
        "discount": 1.0, "rows": 500, "decisions": 500, "effective_rows": 120.0, "effective_rows_needed": 100.0,
        "logged": 0.3, "logged_error": 0.01, "bounds": {}, "weights": None, "over_time": [], "constraints": [],
        "refused": [], "skipped": {}, "since": None, "until": None, "reward_weights": None, "seed": 0,
    }  # fmt: skip
    known["estimates"] = [
        EstimateReport(
            estimator=f"e{at}",
            value=None,
            standard_error=None,
            low=None,
            high=high,
            is_biased=False,
        )
        for at, high in enumerate(highs)
    ]
    return EvaluationReport(**(known | about))
