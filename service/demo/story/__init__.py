"""`nacre demo --story`: what stands between a policy and a bad night, played through with real processes.

a policy learns; from then on nothing goes live by itself
a bad candidate is stopped at the gate
it is forced into the canary, and rolled back
a good one passes gate and canary, a person is asked, and it goes live
the inputs drift, and an alarm says so
the reward feed breaks: the policy trips, its fallback decides, it recovers
the account adds up, and every logged probability was true

traffic     callers that never stop, in a world that can be spoiled
desk        what an operator does, over HTTP
chapters    one function each, which ends with claims
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
from rich.console import Console

from service.demo.account import account_details, check_archive, settled_account
from service.demo.progress import Ticker
from service.demo.report import Promise, Report
from service.demo.stage import Stage, shipped_policy
from service.demo.story import chapters
from service.demo.story.claims import Claim, account_claims
from service.demo.story.desk import Desk
from service.demo.story.picture import picture
from service.demo.story.traffic import Traffic

_PATIENCE_S: Final = 20.0
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class StoryDemo:
    """One evening of an operator. `seed`: of the world."""

    seed: int

    def policy(self) -> dict[str, Any]:
        return shipped_policy("story")

    async def play(self, stage: Stage, console: Console) -> Report:
        """Plays every chapter, waits until nothing is pending, checks the log."""
        claims: list[Claim] = []
        http = httpx.AsyncClient(base_url=stage.stack.url, timeout=_TIMEOUT_S)
        async with stage.client() as client, http:
            desk = Desk(stage, http)
            traffic = Traffic(client, self.seed)
            with Ticker(console, "story", len(chapters.ALL)) as ticker:
                async with traffic.flowing(stage, ticker):
                    for number, chapter in enumerate(chapters.ALL):
                        traffic.begin(number, chapter.__name__.replace("_", " "))
                        claims += await chapter(desk, traffic)
            account = await settled_account(client, _PATIENCE_S)
            check = await check_archive(stage.archive, traffic.sent, account.pending)
        claims += account_claims(account, check, traffic)
        return _report(self.seed, claims, traffic, account_details(account))


def _report(seed: int, claims: list[Claim], traffic: Traffic, details: dict[str, Any]) -> Report:
    return Report(
        title="nacre demo: a story of trust",
        headline={claim.name: {"holds": claim.holds, **claim.numbers} for claim in claims},
        rows=[(claim.name.replace("_", " "), claim.told()) for claim in claims],
        promises=[Promise(claim.statement, claim.holds) for claim in claims],
        details={"seed": seed, "chapters": traffic.chapters_told(), **details},
        chart=picture(traffic),
    )
