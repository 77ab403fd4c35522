"""Python client of the Nacre decision service.

    from nacre_client import Client

    with Client("http://127.0.0.1:8000", policy="home_hero") as client:
        decision = client.act({"user": {"tier": "gold"}}, ["news", "sport"])
        client.observe(decision.decision_id, 1.0)

Everything public is named here; the modules with an underscore may change at any time.
"""

from ._async_client import AsyncClient
from ._client import Client
from ._episode import AsyncEpisode, Episode
from ._errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ConnectFailedError,
    DeadlineExceededError,
    FieldProblem,
    HeldError,
    InputError,
    InvalidRequestError,
    NacreError,
    NotFoundError,
    PermissionDeniedError,
    ProblemItem,
    RateLimitedError,
    ServerError,
    TooLargeError,
)
from ._jobs import AsyncJob, Job
from ._models import (
    Approval,
    Assignment,
    CatalogInfo,
    ChosenAction,
    Decision,
    DecisionLife,
    Health,
    Held,
    JobState,
    LiveVersion,
    PolicyChange,
    PolicyInfo,
    RankedAction,
    RewardEntry,
    RewardResult,
    RolloutInfo,
    ShadowResult,
    VersionInfo,
)
from ._requests import (
    ActDefaults,
    Action,
    ActOptions,
    ActRequest,
    RewardDetails,
    RewardOptions,
    RewardRequest,
    StepOptions,
    TransitionFields,
)
from ._version import __version__

__all__ = [
    "APIError",
    "ActDefaults",
    "ActOptions",
    "ActRequest",
    "Action",
    "Approval",
    "Assignment",
    "AsyncClient",
    "AsyncEpisode",
    "AsyncJob",
    "AuthenticationError",
    "BadRequestError",
    "CatalogInfo",
    "ChosenAction",
    "Client",
    "ConflictError",
    "ConnectFailedError",
    "DeadlineExceededError",
    "Decision",
    "DecisionLife",
    "Episode",
    "FieldProblem",
    "Health",
    "Held",
    "HeldError",
    "InputError",
    "InvalidRequestError",
    "Job",
    "JobState",
    "LiveVersion",
    "NacreError",
    "NotFoundError",
    "PermissionDeniedError",
    "PolicyChange",
    "PolicyInfo",
    "ProblemItem",
    "RankedAction",
    "RateLimitedError",
    "RewardDetails",
    "RewardEntry",
    "RewardOptions",
    "RewardRequest",
    "RewardResult",
    "RolloutInfo",
    "ServerError",
    "ShadowResult",
    "StepOptions",
    "TooLargeError",
    "TransitionFields",
    "VersionInfo",
    "__version__",
]
