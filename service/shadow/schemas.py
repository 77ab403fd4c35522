"""The wire contract of /shadow: somebody else decided, what would we have done?"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from service.decisions.schemas import Actions, Id, Observation, Ranked, Strict


class ShadowRequest(Strict, frozen=True):
    """A decision of another system. `propensity` is the probability with which it chose."""

    observation: Observation
    actions: Actions
    action_id: Id
    behavior_policy: Id
    propensity: Annotated[float, Meta(gt=0, le=1)] | None = None
    policy: Id | None = None
    decision_id: Id | None = None
    subject: Id | None = None
    excluded_actions: list[Id] = []
    metadata: dict[str, Any] = {}


class Shadow(Struct, frozen=True, kw_only=True):
    """What our policy would have done at that moment."""

    model_version: str
    action_id: str
    probability_of_logged_action: float
    agrees: bool


class ShadowResponse(Struct, frozen=True, kw_only=True):
    """`ranking` holds the policy's probability of every action, so that any estimator can be used."""

    decision_id: str
    policy: str
    config_hash: str
    feature_schema: str
    shadow: Shadow
    ranking: list[Ranked]
    reward_deadline: str
