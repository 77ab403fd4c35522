"""What the blocking and the asyncio client share: settings, requests, answers, errors, the fallback.

Nothing here waits for anything; the two clients only add the waiting.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from . import _calls
from ._calls import Call, JsonObject
from ._errors import (
    APIError,
    ConnectFailedError,
    DeadlineExceededError,
    InputError,
    NacreError,
    ProblemItem,
    error_from,
)
from ._models import ChosenAction, Decision, RankedAction
from ._requests import Actions, ActOptions, Fallback, Observation
from ._retry import TimeLeft, Tries
from ._version import __version__
from ._wire import header_text, new_id

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 5.0
DEFAULT_MAX_RETRIES = 2
# A burst of this many concurrent calls keeps its connections; httpx alone would keep 20 and reopen the rest.
MOST_CONNECTIONS = 100
FALLBACKS = ("raise", "baseline")

logger = logging.getLogger("nacre_client")


class BaseClient:
    """Settings of one client, checked once, and everything that needs no I/O."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        policy: str | None,
        timeout_s: float,
        max_retries: float,
        fallback: Fallback,
    ) -> None:
        self.base_url = _checked_url(base_url)
        self.policy = policy
        self.timeout_s = _checked_timeout(timeout_s)
        self.max_retries = _checked_retries(max_retries)
        self.fallback = _checked_fallback(fallback)
        self._headers = {
            "Accept": "application/json",
            "User-Agent": f"nacre-client/{__version__}",
            **_authorization(api_key or os.environ.get("NACRE_API_KEY")),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r}, policy={self.policy!r})"

    def _policy_name(self, policy: str | None) -> str:
        """The policy to ask about.

        Raises:
            InputError: neither the call nor the client names one.
        """
        name = policy or self.policy
        if name is None:
            raise InputError(
                "no policy is named; expected one in the call or in the client; "
                f"use {type(self).__name__}(policy=...) for a default"
            )
        return name

    def _act_body(
        self, observation: Observation, actions: Actions | None, options: ActOptions
    ) -> JsonObject:
        """The body of one act request. Its decision id is made here if need be, so a retry is safe."""
        body = _calls.act_body(observation, actions, **options)
        body.setdefault("decision_id", new_id())
        if self.policy is not None:
            body.setdefault("policy", self.policy)
        return body

    def _fallback_of(self, fallback: Fallback | None) -> Fallback:
        """What the call says, else what the client says."""
        return self.fallback if fallback is None else _checked_fallback(fallback)

    # One attempt

    def _tries(self, call: Call[Any]) -> Tries:
        timeout_s = self.timeout_s if call.timeout_s is None else call.timeout_s
        return Tries(self.max_retries, timeout_s)

    def _request(self, call: Call[Any], tries: Tries) -> httpx.Request:
        import httpx

        headers = {**self._headers, "Nacre-Retry-Count": str(tries.retries)}
        if call.content is not None:
            headers["Content-Type"] = "application/json"
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = header_text(call.idempotency_key)
        return httpx.Request(
            call.method,
            self.base_url + call.path,
            headers=headers,
            content=call.content,
            extensions={"timeout": TimeLeft(tries)},
        )

    def _after_failure(self, call: Call[Any], tries: Tries, error: httpx.RequestError) -> float:
        """Seconds to pause before the next attempt, after one that got no answer.

        Raises:
            ConnectFailedError, DeadlineExceededError: there is no next attempt.
        """
        pause_s = tries.pause_s(None)
        if pause_s is None:
            raise self._no_answer(call, tries, error) from error
        return pause_s

    def _no_answer(self, call: Call[Any], tries: Tries, error: httpx.RequestError) -> NacreError:
        import httpx

        what, attempts = f"{call.method} {call.path}", tries.retries + 1
        if isinstance(error, httpx.TimeoutException):
            return DeadlineExceededError(
                f"{what}: no answer within {tries.timeout_s:g} s, {attempts} attempt(s); "
                "raise timeout_s or deadline_ms, or see why the service is slow"
            )
        return ConnectFailedError(
            f"{what}: {self.base_url} does not answer ({type(error).__name__}: {error}), "
            f"{attempts} attempt(s); is the service up, and the address right?"
        )

    def _after_refusal(self, tries: Tries, response: httpx.Response) -> float:
        """Seconds to pause before the next attempt, after one that was refused.

        Raises:
            APIError: the refusal is final, or there is no next attempt.
        """
        error = error_from(response.status_code, response.headers, response.content)
        pause_s = tries.pause_s(error.retry_after_s) if error.retryable else None
        if pause_s is None:
            raise error
        return pause_s

    def _is_answer(self, call: Call[Any], response: httpx.Response) -> bool:
        return response.is_success or response.status_code in call.also_read

    def _answer(self, call: Call[T], response: httpx.Response) -> T:
        """The value that a successful answer carries.

        Raises:
            APIError: the answer is not what the contract promises; perhaps something else answered.
        """
        try:
            return call.read(response)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable(call, response, error) from error

    # The local fallback

    def _local_decision(self, body: JsonObject, fallback: Fallback, error: NacreError) -> Decision:
        """The baseline action, or else the first that is allowed, chosen here because nobody else could; of
        continuous actions the baseline, or else the centre of the box that was named.

        The id is a new one: the service may have decided after all, under the id that was sent, and a
        reward for what this client played must never be credited to what the service chose.

        Raises:
            NacreError: `error` itself, when there is no fallback or nothing to fall back to.
        """
        action = _baseline(body) if fallback == "baseline" else None
        if action is None:
            raise error
        logger.warning("nacre_client fell back to action %s: %s", action.id or action.value, error)
        return Decision(
            decision_id=f"local-{new_id()}",
            policy=body.get("policy", ""),
            action=action,
            propensity=1.0 if action.id else math.inf,
            reason="fallback",
            model_version="local",
            ranking=(RankedAction(action.id, 1.0),) if action.id else (),
            reasons_detail={
                "fallback": str(error),
                "sent_decision_id": body["decision_id"],
            },
            mode="local",
            is_local=True,
        )


def _baseline(body: JsonObject) -> ChosenAction | None:
    """The named baseline action if it may be played, else the first that may, else None."""
    if "actions" not in body:
        return _continuous_baseline(body)
    ids = [_action_id(action) for action in body.get("actions", ())]
    excluded = set(body.get("excluded_actions", ()))
    allowed = [name for name in ids if name not in excluded]
    if not allowed:
        return None
    wanted = body.get("baseline_action")
    name = wanted if wanted in allowed else allowed[0]
    return ChosenAction(name, ids.index(name))


def _continuous_baseline(body: JsonObject) -> ChosenAction | None:
    wanted, space = body.get("baseline_action"), body.get("action_space")
    if isinstance(wanted, list):
        return ChosenAction(value=tuple(wanted))
    if space is None:
        return None
    limits = zip(space["low"], space["high"], strict=True)
    return ChosenAction(value=tuple((low + high) / 2 for low, high in limits))


def _action_id(action: str | Mapping[str, Any]) -> str:
    return action if isinstance(action, str) else str(action.get("id"))


def _unreadable(call: Call[Any], response: httpx.Response, error: Exception) -> APIError:
    return APIError(
        ProblemItem(
            status=response.status_code,
            code="UnreadableAnswer",
            title="The answer is not what the contract promises",
            detail=f"{call.method} {call.path}: {type(error).__name__}: {error}; is this address Nacre's?",
            request_id=response.headers.get("x-request-id", ""),
        )
    )


def _checked_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise InputError(
            f"base_url is {base_url!r}; expected an address such as {DEFAULT_URL!r}; "
            "write the scheme, http:// or https://"
        )
    return base_url.rstrip("/")


def _checked_timeout(timeout_s: float) -> float:
    if not timeout_s > 0:
        raise InputError(f"timeout_s is {timeout_s}; expected more than 0 seconds")
    return timeout_s


def _checked_retries(max_retries: float | None) -> float:
    # The client's signature forbids None; other SDKs read it as "the default", so some will pass it.
    if max_retries is None or not max_retries >= 0:
        raise InputError(
            f"max_retries is {max_retries}; expected a number of at least 0; pass 0 to try once only, "
            f"{DEFAULT_MAX_RETRIES} for the default, or math.inf to try until timeout_s has passed"
        )
    return max_retries


def _checked_fallback(fallback: Fallback) -> Fallback:
    if fallback not in FALLBACKS:
        raise InputError(f"fallback is {fallback!r}; expected one of {', '.join(FALLBACKS)}")
    return fallback


def _authorization(api_key: str | None) -> dict[str, str]:
    if not api_key:
        return {}
    if header_text(api_key) != api_key:  # the key itself must not reach an error message
        raise InputError(
            "api_key has characters that no header can carry; expected printable ASCII; "
            "look for a line break at its end"
        )
    return {"Authorization": f"Bearer {api_key}"}
