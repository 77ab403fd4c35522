"""From names to things: a target by its name, a log by its place, and what the policy declares of both.

with opened(settings, request, place) as subject:
    report = evaluate(subject.source, subject.target, subject.request, subject.known)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from msgspec.structs import replace
from redis.asyncio import Redis

from service.archive.parts import list_parts
from service.clock import parse_ms
from service.evaluation.errors import EvaluationError
from service.evaluation.known import Known
from service.evaluation.narrowed import Narrowed
from service.evaluation.schemas import EvaluationRequest
from service.evaluation.sources.joined import Period
from service.evaluation.sources.lines import open_dsjson, open_jsonl
from service.evaluation.sources.policy_log import Choice, open_archive, open_live
from service.evaluation.steps import Source
from service.evaluation.targets import WITHOUT_REGISTRY, Target, Version, named, version_of
from service.policies.catalog import CatalogDocument
from service.policies.config import PolicyConfig, load_policy
from service.policies.encoding import Encoding
from service.policies.repository import PolicyRepository
from service.policies.store import read_config
from service.repository import PolicyKeys
from service.settings import Settings

Format = Literal["archive", "jsonl", "dsjson"]
FORMATS: Final[dict[str, Format]] = {"archive": "archive", "jsonl": "jsonl", "dsjson": "dsjson"}
LIVE: Final = "live"
_SUFFIXES: Final[dict[str, Format]] = {".jsonl": "jsonl", ".dsjson": "dsjson"}
_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log is: `path`, or None for the live log of the policy. `format`: None goes by the name."""

    path: Path | None = None
    format: Format | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that `evaluate` takes. `request` names the policy that was found."""

    source: Source
    target: Target
    request: EvaluationRequest
    known: Known


@dataclass(frozen=True, slots=True)
class _Registered:
    """What Redis knows of a policy. `target`: of the version that was asked for."""

    config: PolicyConfig
    document: CatalogDocument
    target: Version | None


@contextmanager
def opened(settings: Settings, request: EvaluationRequest, place: Place) -> Iterator[Subject]:
    """The log is open while the context lasts. Not from code that runs in an event loop.

    Raises:
        EvaluationError: a name or a place leads nowhere, or they do not go together.
        ConfigError, SnapshotError: the policy or its version cannot be used.
        RedisError: Redis does not answer, and something had to be asked of it.
    """
    period = _period(request)
    path = Path(request.policy) if request.policy else None
    registered, config = None, None
    if path is not None and path.is_file():
        config = load_policy(path)
    elif (registered := asyncio.run(_look_up(settings, request, place))) is not None:
        config = registered.config
    if config is not None:
        request = replace(request, policy=config.policy)
    target = _target(request, registered)
    with _source(settings, request, place, period, config, registered) as source:
        yield Subject(source, target, request, _known(config, request, place))


def _period(request: EvaluationRequest) -> Period:
    ends = []
    for name, moment in (("since", request.since), ("until", request.until)):
        try:
            ends.append(None if moment is None else parse_ms(moment))
        except ValueError:
            raise EvaluationError(
                f"`{name}` is {moment!r}; write a time with its zone, such as 2026-01-31T12:00:00Z"
            ) from None
    return Period(*ends)


# -- the target ------------------------------------------------------------------------------------


def _target(request: EvaluationRequest, registered: _Registered | None) -> Target:
    if request.target in WITHOUT_REGISTRY:
        if request.greedy:
            raise EvaluationError(f"`{request.target}` has no exploration; leave out --greedy")
        return named(request.target)
    if registered is None or registered.target is None:
        raise EvaluationError(
            f"`{request.target}` is a version of a registered policy; give its name with --policy, "
            "not its file"
        )
    registered.target.check()
    return registered.target


async def _look_up(
    settings: Settings, request: EvaluationRequest, place: Place
) -> _Registered | None:
    """What Redis knows; None if nothing need be asked of it."""
    is_version = request.target not in WITHOUT_REGISTRY
    name = request.policy or (request.target.rpartition("@")[0] if is_version else None)
    is_of_lines = _format(place) in ("jsonl", "dsjson")
    if is_of_lines and not is_version and not name:
        return None
    async with Redis.from_url(settings.redis_url, socket_timeout=_TIMEOUT_S) as client:
        repository = PolicyRepository(client)
        keys = PolicyKeys(name or await _only(repository))
        meta = await repository.meta(keys)
        if meta is None:
            raise EvaluationError(
                f"policy `{keys.policy}` is not registered; check its name, or name its file"
            )
        document = await repository.catalog(keys, meta.catalog) or CatalogDocument(0, {})
        target = await _version(settings, repository, keys, request) if is_version else None
        return _Registered(read_config(meta.config), document, target)


async def _only(repository: PolicyRepository) -> str:
    names = await repository.names()
    if len(names) != 1:
        found = f"there are {', '.join(names)}" if names else "there is none"
        raise EvaluationError(f"name the policy with --policy; {found}")
    return names[0]


async def _version(
    settings: Settings, repository: PolicyRepository, keys: PolicyKeys, request: EvaluationRequest
) -> Version:
    number = version_of(request.target, keys.policy)
    description = await repository.version(keys, number)
    body = (
        None if description is None else await repository.config_of(keys, description.config_hash)
    )
    if body is None:
        kept = [one.version for one in await repository.versions(keys)]
        there_are = f"{kept[0]} to {kept[-1]} are kept" if kept else "it has none"
        raise EvaluationError(f"`{keys.policy}` has no version {number}; {there_are}")
    return Version(keys.policy, number, body, settings.artefacts, request.greedy)


# -- the log ---------------------------------------------------------------------------------------


def _format(place: Place) -> Format:
    """As it is named, or as its name says; the live log is one more archive."""
    if place.format is not None or place.path is None:
        return place.format or "archive"
    suffixes = [suffix for suffix in place.path.suffixes if suffix != ".gz"]
    found = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    if found is None and not place.path.is_dir():
        raise EvaluationError(
            f"{place.path} is no folder, and its name does not tell its format; add --format jsonl or dsjson"
        )
    return found or "archive"


@contextmanager
def _source(
    settings: Settings,
    request: EvaluationRequest,
    place: Place,
    period: Period,
    config: PolicyConfig | None,
    registered: _Registered | None,
) -> Iterator[Source]:
    form = _format(place)
    if form != "archive":
        assert place.path is not None, "only an archive has no path"
        document = CatalogDocument(0, {}) if registered is None else registered.document
        encoding = None if config is None else Encoding(config.agent, document)
        open_lines = open_jsonl if form == "jsonl" else open_dsjson
        yield Narrowed(open_lines(place.path, encoding), period, request.weights)
        return
    if registered is None:
        raise EvaluationError(
            "an archive and the live log are those of a registered policy; give its name with "
            "--policy, or name a log file with --log"
        )
    policy = registered.config.policy
    schema = None if registered.target is None else read_config(registered.target.config).agent.feature_schema  # fmt: skip
    choice = Choice(request.kind, period, request.weights, schema)
    if place.path is None:
        with open_live(settings.redis_url, settings.archive, policy, choice) as live:
            yield live
    else:
        folder = place.path.parent if list_parts(place.path) else place.path
        with open_archive(settings.redis_url, folder, policy, choice) as archive:
            yield archive


def _known(config: PolicyConfig | None, request: EvaluationRequest, place: Place) -> Known:
    log = f"the live log of {request.policy}" if place.path is None else str(place.path)
    if config is None:
        return Known(log)
    rule, learner = config.reward, config.agent.policy_learner
    # A sum of several rewards may leave the range of each, and other weights have another range.
    is_single = rule.aggregation != "sum"
    is_bounded = is_single and rule.range is not None and request.weights is None
    return Known(
        log,
        discount=float(getattr(learner, "discount", 1.0)),
        least=min(rule.range[0], rule.default) if is_bounded and rule.range else None,
        most={name: high for name, (_, high) in rule.bounds.items() if is_single},
        components=frozenset(rule.names),
    )
