"""The OpenAPI document, made of the same structs that decode requests and encode answers."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from service.approvals.schemas import Approval, ApprovalList, Held, Verdict
from service.decisions.schemas import (
    ActRequest,
    ActResponse,
    BatchRequest,
    BoxActResponse,
    DecisionLife,
)
from service.errors import KINDS, Problem
from service.evaluation.schemas import EvaluationJob, EvaluationRequest, EvaluationsView
from service.feedback.schemas import ObserveRequest, ObserveResponse, SealRequest
from service.learning.schemas import Job, LearnRequest
from service.monitoring.schemas import AlarmsAnswer, ForgetRequest, MonitoringAnswer
from service.policies.audit import Audit
from service.policies.catalog import CatalogChange, CatalogDocument
from service.policies.schemas import (
    CatalogView,
    Pointed,
    PolicyView,
    PromoteRequest,
    Registered,
    RollbackRequest,
)
from service.rollout.schemas import (
    AbortRequest,
    EventsView,
    GateAnswer,
    MoveRequest,
    RolloutView,
    ShadowsView,
    StartRequest,
)
from service.shadow.schemas import ShadowRequest, ShadowResponse
from service.trips.schemas import TripRequest, TripView


class Operation(NamedTuple):
    """One method of one path. `response`: what a success looks like; a tuple where it has several forms.
    `problems`: the error statuses that it can answer besides the common. `accepted`: what a 202 looks like, where
    that is another success.
    """

    method: str
    path: str
    tag: str
    summary: str
    status: int
    request: Any = None
    response: Any = None
    problems: tuple[int, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    is_open: bool = False
    accepted: Any = None


_POLICY = (("policy", "string"),)
_BODY: Final = (400, 408, 413, 415, 422)
_COMMON: Final = (401, 403, 404, 405, 500, 503)

OPERATIONS: Final = (
    Operation("post", "/v1/act", "hot", "Choose one action", 200, ActRequest, (ActResponse, BoxActResponse), (*_BODY, 409), accepted=Held),
    Operation("post", "/v1/act:batch", "hot", "Choose for many requests", 200, BatchRequest, None, (*_BODY, 409)),
    Operation("post", "/v1/observe", "hot", "Report rewards or transitions", 202, ObserveRequest, ObserveResponse, (*_BODY, 409)),
    Operation("post", "/v1/shadow", "hot", "Log somebody else's decision", 202, ShadowRequest, ShadowResponse, _BODY),
    Operation("get", "/v1/decisions/{decision_id}", "decisions", "The life of a decision", 200, None, DecisionLife, (422,), _POLICY),
    Operation("post", "/v1/decisions/{decision_id}/activate", "decisions", "A deferred decision was shown", 204, None, None, (409, 422), _POLICY),
    Operation("post", "/v1/episodes/{episode_id}/seal", "decisions", "End an episode", 200, SealRequest, None, (*_BODY, 409), _POLICY),
    Operation("post", "/v1/learn", "learning", "Learn now", 202, LearnRequest, Job, (*_BODY, 409)),
    Operation("get", "/v1/learn/jobs/{job_id}", "learning", "How a learn job stands", 200, None, Job, (422,), _POLICY),
    Operation("get", "/v1/policies", "policies", "Names of policies", 200),
    Operation("get", "/v1/policies/{policy}", "policies", "One policy and its account", 200, None, PolicyView, (422,)),
    Operation("put", "/v1/policies/{policy}", "policies", "Create or change a policy", 200, dict[str, Any], Registered, (*_BODY, 409), (("restart", "boolean"),)),
    Operation("get", "/v1/policies/{policy}/versions", "policies", "Versions of a policy", 200, None, None, (422,)),
    Operation("post", "/v1/policies/{policy}/versions/{version}/promote", "policies", "Make a version live", 200, PromoteRequest, Pointed, (*_BODY, 409)),
    Operation("post", "/v1/policies/{policy}/rollback", "policies", "Back to the version before", 200, RollbackRequest, Pointed, (*_BODY, 409)),
    Operation("get", "/v1/policies/{policy}/actions", "policies", "The action catalog", 200, None, CatalogDocument, (422,)),
    Operation("put", "/v1/policies/{policy}/actions", "policies", "Change the action catalog", 200, CatalogChange, CatalogView, (*_BODY, 409)),
    Operation("get", "/v1/policies/{policy}/audit", "policies", "Are the logged probabilities true?", 200, None, Audit, (422,), (("decisions", "integer"),)),
    Operation("post", "/v1/evaluations", "evaluation", "Ask what a policy would have earned", 202, EvaluationRequest, EvaluationJob, (*_BODY, 429)),
    Operation("get", "/v1/evaluations", "evaluation", "The newest evaluations of a policy", 200, None, EvaluationsView, (422,), _POLICY),
    Operation("get", "/v1/evaluations/{job_id}", "evaluation", "How an evaluation stands", 200, None, EvaluationJob, (422,)),
    Operation("get", "/v1/evaluations/{job_id}/page", "evaluation", "A report for people", 200, None, None, (422,)),
    Operation("get", "/v1/approvals", "approvals", "What waits for a person", 200, None, ApprovalList, (422,), (*_POLICY, ("state", "string"))),
    Operation("get", "/v1/approvals/{policy}/{approval_id}", "approvals", "One approval; can wait for its end", 200, None, Approval, (422,), (("wait_s", "number"),)),
    Operation("post", "/v1/approvals/{policy}/{approval_id}/approve", "approvals", "Say yes", 200, Verdict, Approval, (*_BODY, 409)),
    Operation("post", "/v1/approvals/{policy}/{approval_id}/reject", "approvals", "Say no", 200, Verdict, Approval, (*_BODY, 409)),
    Operation("get", "/v1/policies/{policy}/rollout", "rollout", "How a rollout stands", 200, None, RolloutView, (422,)),
    Operation("post", "/v1/policies/{policy}/rollout", "rollout", "Send a version on its way", 201, StartRequest, RolloutView, (*_BODY, 409)),
    Operation("post", "/v1/policies/{policy}/rollout/advance", "rollout", "Move a rollout on", 200, MoveRequest, RolloutView, (*_BODY, 409)),
    Operation("post", "/v1/policies/{policy}/rollout/abort", "rollout", "End a rollout", 200, AbortRequest, RolloutView, (*_BODY, 409)),
    Operation("get", "/v1/policies/{policy}/shadows", "rollout", "What candidates would have done", 200, None, ShadowsView, (422,)),
    Operation("get", "/v1/policies/{policy}/events", "rollout", "Who changed what, and why", 200, None, EventsView, (422,), (("count", "integer"),)),
    Operation("get", "/v1/gates/{policy}/check", "rollout", "May a deployment tool go on?", 200, None, GateAnswer, (422, 425)),
    Operation("post", "/v1/gates/{policy}/check", "rollout", "May a deployment tool go on?", 200, None, GateAnswer, (422, 425)),
    Operation("get", "/v1/policies/{policy}/monitoring", "monitoring", "How watching stands", 200, None, MonitoringAnswer, (422,), (("windows", "integer"),)),
    Operation("post", "/v1/policies/{policy}/monitoring/forget", "monitoring", "Compare with what is seen now", 202, ForgetRequest, None, _BODY),
    Operation("get", "/v1/policies/{policy}/alarms", "monitoring", "What is alarmed, and was", 200, None, AlarmsAnswer, (422,), (("changes", "integer"),)),
    Operation("get", "/v1/policies/{policy}/trip", "trips", "Is the policy tripped?", 200, None, TripView, (422,)),
    Operation("post", "/v1/policies/{policy}/trip", "trips", "Let the fallback decide", 200, TripRequest, TripView, (*_BODY, 409)),
    Operation("post", "/v1/policies/{policy}/recover", "trips", "Let the policy decide again", 200, TripRequest, TripView, (*_BODY, 409)),
    Operation("get", "/v1/limits", "health", "What a request may ask for", 200, is_open=True),
    Operation("get", "/healthz", "health", "Alive", 200, is_open=True),
    Operation("get", "/readyz", "health", "Able to decide", 200, is_open=True),
    Operation("get", "/metrics", "health", "Prometheus metrics", 200, is_open=True),
    Operation("get", "/v2/health/live", "health", "Alive (Open Inference Protocol)", 200, is_open=True),
    Operation("get", "/v2/health/ready", "health", "Able to decide (Open Inference Protocol)", 200, is_open=True),
    Operation("get", "/v2/models/{policy}", "health", "Model metadata (Open Inference Protocol)", 200, None, None, (422,)),
)  # fmt: skip


def document(version: str) -> dict[str, Any]:
    """The whole OpenAPI 3.1 document."""
    types = [
        one
        for op in OPERATIONS
        for one in (op.request, op.accepted, *_forms(op))
        if one is not None
    ]
    unique = list({id(one): one for one in [*types, Problem]}.values())
    schemas, components = msgspec.json.schema_components(
        unique, ref_template="#/components/schemas/{name}"
    )
    by_type = {id(one): schema for one, schema in zip(unique, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nacre",
            "version": version,
            "description": "An online decision service: act, observe, learn.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _forms(operation: Operation) -> tuple[Any, ...]:
    response = operation.response
    return response if isinstance(response, tuple) else (response,)


def _describe(operation: Operation, by_type: dict[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "operationId": _operation_id(operation),
        "responses": _responses(operation, by_type),
    }
    parameters = _parameters(operation)
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        content = {"application/json": {"schema": by_type[id(operation.request)]}}
        described["requestBody"] = {"required": True, "content": content}
    if not operation.is_open:
        described["security"] = [{"key": []}, {}]
    return described


def _operation_id(operation: Operation) -> str:
    words = operation.path.replace("{", "").replace("}", "").replace(":", "/").strip("/").split("/")
    return "_".join([operation.method, *words])


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer"}
            if name == "version"
            else {"type": "string", "minLength": 1},
        }
        for name in in_path
    ]
    return found + [
        {"name": n, "in": "query", "schema": {"type": kind}} for n, kind in operation.query
    ]


def _responses(operation: Operation, by_type: dict[int, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done"}
    if operation.response is not None:
        forms = [by_type[id(one)] for one in _forms(operation)]
        schema = forms[0] if len(forms) == 1 else {"oneOf": forms}
        good["content"] = {"application/json": {"schema": schema}}
    responses = {str(operation.status): good}
    if operation.path == "/v1/policies/{policy}" and operation.method == "put":
        responses["201"] = good
    if operation.accepted is not None:
        schema = by_type[id(operation.accepted)]
        content = {"application/json": {"schema": schema}}
        responses["202"] = {"description": "It waits for a person", "content": content}
    codes = operation.problems if operation.is_open else (*operation.problems, *_COMMON)
    for status in sorted(
        {*codes, *((503,) if operation.path.endswith(("readyz", "ready")) else ())}
    ):
        titles = " | ".join(kind.title for kind in KINDS.values() if kind.status == status)
        content = {"application/problem+json": {"schema": by_type[id(Problem)]}}
        responses[str(status)] = {"description": titles, "content": content}
    return responses
