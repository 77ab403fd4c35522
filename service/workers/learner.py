"""The trainer: follows the replay stream of every policy and publishes versions.

    per policy:  lease -> session -> step, step, step ... -> checkpoint

A policy is trained by one process at a time (`nacre:lease:learner:<policy>`); several learners share
the policies among them, and each takes over what another leaves. They must share the folder of
checkpoints, or the one that takes over begins from what the replay stream still holds.

Several processes that torchrun started are one learner: the first is all that is said here, and leads the others
(`service.workers.follower`), which compute what it computes.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
import torch
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent_core.errors import AgentCoreError, RankLostError
from agent_core.training.parallel import Ranks
from service.clock import now_ms
from service.learning.jobs import fail_current
from service.learning.lead import Lead, leading
from service.learning.model import Place
from service.learning.repository import LearningRepository
from service.learning.schemas import LearnerStatus
from service.learning.session import Session
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository
from service.repository import PolicyKeys
from service.settings import Settings
from service.workers.heartbeat import beat
from service.workers.lease import Lease
from service.workers.pause import pause
from service.workers.ranks import are_several, own_device
from service.workers.repository import LeaseRepository

log = structlog.get_logger(__name__)

NICE: Final = 5
"""On a machine that it shares with the API, answering goes before learning (see nice(2))."""
_RETRY_S: Final = 0.2
_REFUSED_RETRY_S: Final = 5.0


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Trains until `stop` is set, after everybody else on this machine has had its turn."""
    os.nice(NICE)
    # Programs that were compiled once are found again after a restart, wherever checkpoints are kept.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.checkpoints / "compiled"))
    if are_several():
        await _lead_all(settings, stop)
    else:
        await train_all(settings, stop)


async def _lead_all(settings: Settings, stop: asyncio.Event) -> None:
    """The same together with the other processes; ends this one when one of them is lost."""
    ranks, losses = Ranks.joined(device_of(settings.device)), list[Exception]()
    log.info("rank_joined", rank=ranks.rank, ranks=ranks.count)
    try:
        async with leading(ranks) as lead:
            await train_all(settings, stop, lead)
    except* RankLostError as lost:
        losses.append(lost)
    if losses:
        action = "ending; what the checkpoints do not have is learned again after a new start"
        log.error("rank_lost", reason=_first(losses[0]), action=action)
        raise SystemExit(1)


def _first(error: Exception) -> str:
    """What a group of errors, perhaps of groups, began with."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error)


async def train_all(settings: Settings, stop: asyncio.Event, lead: Lead | None = None) -> None:
    """Trains every policy, those that appear later too, until `stop` is set."""
    torch.set_num_threads(1)
    client = Redis.from_url(settings.redis_url, socket_timeout=5.0, socket_connect_timeout=2.0)
    with ThreadPoolExecutor(1, thread_name_prefix="arithmetic") as arithmetic:
        place = Place(arithmetic, device_of(settings.device), settings.checkpoints, lead)
        async with client, asyncio.TaskGroup() as tasks:
            tasks.create_task(beat(settings.heartbeat, stop))
            known: set[str] = set()
            while not stop.is_set():
                for policy in await _policies(client):
                    if policy not in known:
                        trainer = Trainer(client, settings, place, policy, stop)
                        tasks.create_task(trainer.train())
                        known.add(policy)
                await pause(stop, settings.poll_s)


def device_of(name: str) -> torch.device:
    """`auto` is the GPU if there is one; else a name that torch knows, such as `cpu` or `cuda:1`. Each of several
    processes has a GPU to itself.

    Raises:
        ConfigError: there are not enough of them.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    return own_device(device) if are_several() else device


async def _policies(client: Redis) -> list[str]:
    try:
        return await PolicyRepository(client).names()
    except (RedisError, OSError):
        return []


class Trainer:
    """Trains one policy whenever it holds its lease, and lives through everything."""

    def __init__(
        self, client: Redis, settings: Settings, place: Place, policy: str, stop: asyncio.Event
    ) -> None:
        self._client = client
        self._place = place
        self._stop = stop
        self._keys = PolicyKeys(policy)
        self._policies = PolicyRepository(client)
        self._learning = LearningRepository(client)
        self._artefacts = ArtefactStore(settings.artefacts)
        self._lease = Lease(
            LeaseRepository(client), f"learner:{policy}", duration_s=settings.lease_s
        )
        self._session: Session | None = None
        self._is_failing = False

    async def train(self) -> None:
        """Returns when the process is to stop."""
        while await self._lease.wait(self._stop):
            async with self._lease.kept():
                await self._hold()

    def _may_go_on(self) -> bool:
        return self._lease.is_held and not self._stop.is_set()

    async def _hold(self) -> None:
        while self._may_go_on():
            await self._turn()
        if self._stop.is_set() and self._session is not None:
            await self._close(self._session)
        # Another learner may take over now: what it learns is on disk, not here.
        self._session = None

    async def _turn(self) -> None:
        """One step; what goes wrong is told, and tried again after a pause."""
        try:
            if self._session is None or self._session.is_over:
                self._session = None
                self._session = await self._open()
            if self._session is not None:
                await self._session.step()
            self._is_failing = False
        except RankLostError:
            raise  # what is in memory is not whole, and nothing more can be learned here
        except (RedisError, OSError) as error:
            await self._retry(error)
        except AgentCoreError as error:
            await self._refuse(str(error))
        except Exception as error:  # one policy's defect must not stop the others
            log.error("training_failed", policy=self._keys.policy, exc_info=error)
            await self._refuse(f"{type(error).__name__}: {error}")

    async def _open(self) -> Session | None:
        meta = await self._policies.meta(self._keys)
        if meta is None:
            await pause(self._stop, _REFUSED_RETRY_S)
            return None
        return await Session.open(
            self._client,
            self._artefacts,
            self._place,
            meta,
            lambda duration_s: pause(self._stop, duration_s),
        )

    async def _close(self, session: Session) -> None:
        try:
            await session.close()
        except OSError as error:
            log.error("checkpoint_failed", policy=self._keys.policy, error=str(error))

    async def _retry(self, error: Exception) -> None:
        if not self._is_failing:
            log.warning(
                "learner_step_failed",
                policy=self._keys.policy,
                error=str(error),
                action="trying again",
            )
        self._is_failing = True
        await pause(self._stop, _RETRY_S)

    async def _refuse(self, reason: str) -> None:
        """Training cannot go on from what is in memory; the next turn begins at the checkpoint."""
        self._session = None
        if not self._is_failing:
            log.error("training_refused", policy=self._keys.policy, reason=reason)
        self._is_failing = True
        try:
            await fail_current(self._keys, self._learning, reason)
            said = await self._learning.status(self._keys) or LearnerStatus()
            status = replace(said, at_ms=now_ms(), refused=reason)
            await self._learning.put_status(self._keys, status)
        except (RedisError, OSError) as error:
            log.warning("refusal_not_told", policy=self._keys.policy, error=str(error))
        await pause(self._stop, _REFUSED_RETRY_S)
