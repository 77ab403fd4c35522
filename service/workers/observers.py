"""All who follow the logs, by the names under which their states are kept."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import Redis

from service.approvals.promotions import Promotions
from service.evaluation.repository import EvaluationRepository
from service.following.observer import Opener
from service.monitoring import observer as monitoring
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository
from service.rollout import runner as rollout
from service.rollout import shadows
from service.settings import Settings
from service.webhooks import Announce


def openers(client: Redis, settings: Settings, announce: Announce) -> Mapping[str, Opener]:
    """What opens each of them. A policy is watched before its rollout moves: a trip ends a canary."""
    policies, artefacts = PolicyRepository(client), ArtefactStore(settings.artefacts)
    promotions = Promotions(client, settings.artefacts)
    return {
        monitoring.NAME: monitoring.Monitors(client, announce).open,
        rollout.NAME: rollout.opener(policies, EvaluationRepository(client), promotions, announce),
        shadows.NAME: shadows.opener(policies, artefacts),
    }
