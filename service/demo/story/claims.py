"""What the story says, with its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.demo.account import Account, LogCheck
from service.demo.stats import LEVEL, finite, mean_interval
from service.demo.story.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Claim:
    """`numbers`: what it rests on, plain values."""

    name: str
    statement: str
    holds: bool
    numbers: dict[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """The numbers in one line."""
        return ", ".join(f"{name.replace('_', ' ')} {_text(n)}" for name, n in self.numbers.items())


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def account_claims(account: Account, check: LogCheck, traffic: Traffic) -> list[Claim]:
    """What must be true whatever happened."""
    weight = mean_interval([one.weight for one in traffic.answers])
    is_whole = account.adds_up and account.pending == 0
    return [
        Claim(
            "probabilities_true",
            "the logged probabilities are true throughout: the mean importance weight can be 1",
            1.0 in weight,
            {
                "mean_weight": weight.mean,
                "low": finite(weight.low),
                "high": finite(weight.high),
                "level": LEVEL,
            },
        ),
        Claim(
            "account_adds_up",
            "every decision ended once, none is pending, and none that was answered is missing",
            is_whole and account.decisions == len(traffic.sent.decisions),
            {"decisions": account.decisions, **account.outcomes, "pending": account.pending},
        ),
        Claim(
            "nothing_lost",
            "no acknowledged event is lost, and none counts twice",
            check.events_lost == 0 and check.duplicates_counted_twice == 0,
            {"lost": check.events_lost, "counted_twice": check.duplicates_counted_twice},
        ),
    ]
