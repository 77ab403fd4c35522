"""The floor: a raw ASGI application that reads the body and sends a constant of the usual size."""

from __future__ import annotations

import msgspec

from benchmarks.serving.servers.asgi import App, application
from service.decisions.schemas import ActResponse, Assignment, ChosenAction, Ranked, ReasonsDetail


def constant_answer() -> bytes:
    """As many bytes as Nacre's answer about ten actions has."""
    return msgspec.json.encode(
        ActResponse(
            decision_id="0" * 26,
            policy="small",
            model_version="small@1",
            config_hash="c:" + "0" * 12,
            feature_schema="fs:" + "0" * 12,
            action=ChosenAction("constant", 0),
            propensity=0.9099999999999999,
            ranking=[Ranked(f"a{at}", 0.01, 0.12345678901234567) for at in range(10, 20)],
            reason="policy",
            reasons_detail=ReasonsDetail(explored=False),
            assignment=Assignment("live", 1.0, 0.9099999999999999),
            mode="online",
            activated=True,
            reward_deadline="2026-01-31T12:00:00.250Z",
        )
    )


def create_app() -> App:
    answer = constant_answer()
    return application(lambda path, body: answer)
