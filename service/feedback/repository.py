"""Every Redis command of feedback: the reward ledger, activation, sealing, logged transitions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.policies.config import PolicyConfig, RewardRule
from service.redis_link import UNCONFIRMED, RedisLink
from service.repository import PolicyKeys, Script

REWARD: Final = Script.load("service.feedback", "reward.lua")
ACTIVATE: Final = Script.load("service.feedback", "activate.lua")
SEAL: Final = Script.load("service.feedback", "seal.lua")
TRANSITION: Final = Script.load("service.feedback", "transition.lua")
SCRIPTS: Final = (REWARD, ACTIVATE, SEAL, TRANSITION)


def episode_keep_ms(config: PolicyConfig) -> int:
    """How long a sealed episode stays: until its last reward window closed, with time to join."""
    return int((config.reward.wait_s + config.retention_s) * 1000)


@dataclass(frozen=True, slots=True)
class NewReward:
    """One write to a ledger; `entry` is what counts, `event` what the log keeps."""

    decision_id: str
    reward_id: str
    entry: bytes
    op: str
    is_final: bool
    event: bytes


class FeedbackRepository:
    """Writes through the group-commit link. Every command is idempotent."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def reward(
        self, keys: PolicyKeys, rule: RewardRule, new: NewReward, now_ms: int
    ) -> asyncio.Future[Any]:
        """See `reward.lua` for the replies. The worker ends the wait of an early reward after
        `early_s`; the expiry of twice that is for a Redis without a worker."""
        return self._link.append(
            "EVALSHA", REWARD.sha, 6,
            keys.decision_prefix + new.decision_id, keys.ledger_prefix + new.decision_id,
            keys.log, keys.due, keys.counts, keys.early,
            new.decision_id, new.reward_id, new.entry, new.op, int(new.is_final), now_ms,
            rule.early_limit, int(rule.early_s * 2000), new.event,
        )  # fmt: skip

    def activate(
        self, keys: PolicyKeys, decision_id: str, event: bytes, now_ms: int
    ) -> asyncio.Future[Any]:
        """See `activate.lua` for the replies."""
        return self._link.append(
            "EVALSHA", ACTIVATE.sha, 4,
            keys.decision_prefix + decision_id, keys.ledger_prefix + decision_id, keys.log, keys.due,
            decision_id, now_ms, event,
        )  # fmt: skip

    def seal(
        self,
        keys: PolicyKeys,
        config: PolicyConfig,
        episode_id: str,
        status: str,
        end: bytes,
        event: bytes,
        now_ms: int,
    ) -> asyncio.Future[Any]:
        """See `seal.lua` for the replies."""
        return self._link.append(
            "EVALSHA", SEAL.sha, 4,
            keys.episode_prefix + episode_id, keys.episodes, keys.log, keys.due,
            episode_id, status, end, now_ms, event, episode_keep_ms(config), "",
        )  # fmt: skip

    def transition(
        self,
        keys: PolicyKeys,
        identity: str,
        digest: bytes,
        transition: bytes,
        event: bytes,
        keep_ms: int,
    ) -> asyncio.Future[Any]:
        """See `transition.lua` for the replies; `identity` names the step of the other system's log."""
        return self._link.append(
            "EVALSHA", TRANSITION.sha, 4,
            keys.log, keys.replay, keys.counts, keys.ledger_prefix + "step:" + identity,
            digest, transition, event, keep_ms, identity,
        )  # fmt: skip

    async def owners(
        self, decision_id: str, candidates: Sequence[PolicyKeys]
    ) -> list[PolicyKeys] | None:
        """Which of the policies know this decision; None when Redis does not answer."""
        asked = [
            self._link.append("EXISTS", keys.decision_prefix + decision_id) for keys in candidates
        ]
        replies = await asyncio.gather(*asked)
        if UNCONFIRMED in replies:
            return None
        return [keys for keys, found in zip(candidates, replies, strict=True) if found == 1]
