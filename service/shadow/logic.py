"""The policy's opinion about a decision that somebody else took."""

from __future__ import annotations

from agent_core.agent import seed_of
from agent_core.errors import EmptyActionSetError, NonFiniteScoresError
from service.clock import rfc3339
from service.decisions.choice import Available
from service.decisions.logic import excluded_mask, prepared
from service.decisions.schemas import Ranked
from service.errors import InvalidError, ServiceError
from service.policies.served import Served, ServedSets
from service.shadow.schemas import Shadow, ShadowRequest, ShadowResponse


def judge(
    served: Served, request: ShadowRequest, decision_id: str, deadline_ms: int
) -> ShadowResponse:
    """Computes, at decision time and with the features of that time, what our policy would do.

    Raises:
        InvalidError: the logged action is not among the actions, an input is wrong, or the policy makes
            continuous actions or has a history.
        ServiceError: NotReady when no version of the policy can score the actions.
    """
    if not isinstance(served, ServedSets):
        detail = (
            "it makes continuous actions, and has no probability for an action of somebody else"
        )
        raise InvalidError("/policy", detail, field_code="wrong_kind")
    if served.encoding.history is not None:
        detail = (
            "it has a history, and would judge each step as the first of its episode; ask /v1/act with `mode: shadow`,"
            " the `episode`, and what was done as `baseline_action`"
        )
        raise InvalidError("/policy", detail, field_code="wrong_kind")
    state = served.encoding.observation(request.observation)
    actions, rows = served.encoding.actions(request.actions)
    if request.action_id not in actions.ids:
        raise InvalidError(
            "/action_id", "the action is not among `actions`", "ActionNotShown", "not_shown"
        )
    half = prepared(served, Available(actions, rows))
    excluded = excluded_mask(actions.ids, request.excluded_actions)
    try:
        ours = served.agent.act(
            state,
            actions,
            half,
            seed=seed_of(decision_id, served.config.policy),
            excluded=excluded,
        )
    except EmptyActionSetError:
        raise InvalidError("/actions", "no action is eligible", "ActionSetEmpty", "empty") from None
    except NonFiniteScoresError:
        raise ServiceError(
            "NotReady", "the policy cannot score these actions; see /readyz"
        ) from None
    logged = actions.ids.index(request.action_id)
    shadow = Shadow(
        model_version=served.label,
        action_id=actions.ids[ours.index],
        probability_of_logged_action=float(ours.probabilities[logged]),
        agrees=ours.index == logged,
    )
    ranking = list(map(Ranked, actions.ids, ours.probabilities.tolist(), ours.value.tolist()))
    return ShadowResponse(
        decision_id=decision_id,
        policy=served.config.policy,
        config_hash=served.config_hash,
        feature_schema=served.feature_schema,
        shadow=shadow,
        ranking=ranking,
        reward_deadline=rfc3339(deadline_ms),
    )
