"""What one API process holds: made whole in the lifespan, closed in the lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.approvals import repository as approvals
from service.approvals.repository import ApprovalQueue
from service.decisions.endpoints import ActEndpoint
from service.decisions.repository import RECORD, DecisionRepository
from service.feedback.endpoints import ObserveEndpoint
from service.feedback.repository import SCRIPTS, FeedbackRepository
from service.front_door import Route
from service.policies.artefacts import ArtefactStore
from service.policies.logic import register_folder
from service.policies.repository import PolicyRepository
from service.policies.store import PolicyStore
from service.redis_client import open_client
from service.redis_link import LinkLimits, RedisLink
from service.repository import HINTS
from service.security import Keyring, load_keyring
from service.settings import Settings
from service.shadow.endpoints import ShadowEndpoint
from service.spool import Spool
from service.tally import TallyCollector
from service.tasks import end
from service.webhooks import Announce, Webhooks, delivering

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """The parts of the API that live as long as the process."""

    settings: Settings
    keyring: Keyring
    client: Redis
    link: RedisLink
    policies: PolicyRepository
    artefacts: ArtefactStore
    store: PolicyStore
    decisions: DecisionRepository
    feedback: FeedbackRepository
    announce: Announce
    routes: dict[str, Route] = field(default_factory=dict)


def hot_routes(service: Service) -> dict[str, Route]:
    """The hot endpoints, with and without the version in the path."""
    limits = service.settings
    act = ActEndpoint(
        service.store,
        service.decisions,
        ApprovalQueue(service.link),
        depth=limits.max_depth,
        batch=limits.max_batch,
    )
    observe = ObserveEndpoint(
        service.store,
        service.feedback,
        service.decisions,
        depth=limits.max_depth,
        batch=limits.max_batch,
    )
    shadow = ShadowEndpoint(service.store, service.decisions, depth=limits.max_depth)
    named = {
        "/act": Route(act.act, "act"),
        "/act:batch": Route(act.batch, "act"),
        "/observe": Route(observe.observe, "observe"),
        "/shadow": Route(shadow.shadow, "act"),
    }
    return named | {f"/v1{path}": route for path, route in named.items()}


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Makes every resource, refreshes policies in the background, and closes in reverse order."""
    async with AsyncExitStack() as stack:
        keys = settings.api_keys.get_secret_value() if settings.api_keys else None
        keyring = load_keyring(keys, settings.api_keys_file, settings.host)
        client = open_client(settings.redis_url, socket_timeout_s=2.0)
        stack.push_async_callback(client.aclose)
        link = await RedisLink.open(
            settings.redis_url,
            scripts=[script.text for script in (RECORD, *SCRIPTS, *approvals.SCRIPTS)],
            spool=Spool.claim(settings.state),
            limits=LinkLimits(
                confirm_timeout_s=settings.confirm_timeout_s, max_waiting=settings.max_waiting
            ),
        )
        stack.push_async_callback(link.close)
        policies = PolicyRepository(client)
        artefacts = ArtefactStore(settings.artefacts)
        store = PolicyStore(policies, artefacts, settings.confirm_timeout_s)
        webhooks = Webhooks(settings.webhook_url, settings.webhook_secret)
        service = Service(
            settings, keyring, client, link, policies, artefacts, store,
            DecisionRepository(link, client), FeedbackRepository(link), webhooks.announce,
        )  # fmt: skip
        service.routes.update(hot_routes(service))
        collector = TallyCollector(store.tallies)
        REGISTRY.register(collector)
        stack.callback(REGISTRY.unregister, collector)
        await stack.enter_async_context(delivering(webhooks))
        for task in await _start_background(service):
            stack.push_async_callback(end, task)
        yield service


async def _start_background(service: Service) -> list[asyncio.Task[None]]:
    hints = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    try:
        await _load(service)
    except (RedisError, OSError) as error:
        log.warning(
            "redis_unreachable_at_start", error=str(error), action="serving as soon as it answers"
        )
        tasks.append(asyncio.create_task(_load_later(service)))
    tasks.append(asyncio.create_task(service.store.keep_fresh(hints, service.settings.poll_s)))
    tasks.append(asyncio.create_task(_listen(service, hints)))
    return tasks


async def _load(service: Service) -> None:
    """Registers the files of the policy folder, and loads every policy that there is."""
    if service.settings.policies is not None:
        await register_folder(service.policies, service.artefacts, service.settings.policies)
    await service.store.refresh()


async def _load_later(service: Service) -> None:
    """Loads once, when Redis answers at last."""
    while True:
        await asyncio.sleep(service.settings.poll_s)
        with suppress(RedisError, OSError):
            return await _load(service)


async def _listen(service: Service, hints: asyncio.Event) -> None:
    """Wakes the refresh when somebody publishes; a lost hint only costs a poll interval."""
    while True:
        try:
            client = open_client(service.settings.redis_url, socket_timeout_s=None)
            async with client, client.pubsub() as channel:
                await channel.subscribe(HINTS)
                async for _ in channel.listen():
                    hints.set()
        except (RedisError, OSError):
            await asyncio.sleep(service.settings.poll_s)
