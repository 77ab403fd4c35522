"""What may not be done without a person, as a policy file declares it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from agent_core.config import AgentConfig
from agent_core.errors import ConfigProblem
from agent_core.safety.predicate import Predicate
from service.policies.section import Section


class ApprovalRule(Section):
    """What needs a person, what happens meanwhile, and for how long.

        approval:
          envelope: [{feature: 0, op: "<=", value: 3.5}]     # every condition must hold, see `Predicate`
          least_confidence: 0.6
          otherwise: hold

    An action is taken without a person if it fulfils every condition of `envelope`, and if the most likely of
    the allowed actions has a probability of `least_confidence` or more (0 asks for none). Any other is
    proposed: with `otherwise: fallback` the fallback is answered at once and the proposal queued for a person
    to look at; with `hold` the answer waits. `wait_s`: after that a proposal counts as rejected.
    `most_pending`: decisions that wait at once; one more is answered by the fallback and not queued.
    `promotions`: whether a version needs an approval before it goes live.
    """

    envelope: tuple[Predicate, ...] = Field((), max_length=64)
    least_confidence: float = Field(0.0, ge=0, le=1)
    otherwise: Literal["fallback", "hold"] = "fallback"
    wait_s: float = Field(3600.0, ge=0.1, le=7 * 86_400)
    most_pending: int = Field(1000, ge=1, le=10_000)
    promotions: bool = False

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.is_about_decisions and not self.promotions:
            raise ValueError(
                "nothing would ever need a person; give `envelope`, `least_confidence` or `promotions`"
            )
        return self

    @property
    def is_about_decisions(self) -> bool:
        return bool(self.envelope) or self.least_confidence > 0


def problems(rule: ApprovalRule, agent: AgentConfig) -> Iterator[ConfigProblem]:
    """What of the rule does not fit the agent; paths begin with `approval`."""
    if agent.box is not None:
        if rule.is_about_decisions:
            yield ConfigProblem(
                "approval",
                "the probability of leaving the envelope is not known for continuous actions",
                "remove `envelope` and `least_confidence`, or choose from sets",
            )
        return
    dims = {"action": agent.representation().dim, "state": agent.history_module().state_dim}
    names = {"action": "represented actions have", "state": "states have"}
    for at, predicate in enumerate(rule.envelope):
        for path, side, feature in predicate.readings():
            if feature >= dims[side]:
                problem = f"{names[side]} {dims[side]} features, counted from 0"
                fix = f"use at most {dims[side] - 1}" if dims[side] else "remove the condition"
                yield ConfigProblem(f"approval.envelope.{at}.{path}", problem, fix)
