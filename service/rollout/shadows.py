"""Scores logged decisions under candidates that do not act, inside the worker, never on the path of /act.

    take: decisions wait, at most 256 of them, the newest; rewards join those that were scored
    act:  candidates score what waits, with `shadow_cpu` of one core

What there was no time for is skipped and counted: the sums are then of a sample, which says less and nothing
false. Decisions that were scored and wait for their reward are not kept for the next worker, so one that dies
costs rows and counts none twice. Policies with continuous actions are left out: a candidate agrees with no drawn
vector, and its density there has no meaning without a kernel.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from service import metrics
from service.following.observer import LogEvent, Observer, Opener
from service.joining.joiner import Watched
from service.joining.logic import JoinedEvent
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository
from service.rollout import scoring
from service.rollout.candidates import Candidate, Candidates
from service.rollout.shadow_sums import Group, ShadowSums, encode_state, read_state

NAME: Final = "shadows"
"""Under which the follower keeps the sums."""
_WAITING: Final = 256
_OPEN: Final = 20_000
"""Scored decisions that wait for their reward: about 5 MB."""
_LONGEST_S: Final = 0.05
"""Of one turn: the follower waits for it."""
_LEAST_S: Final = 0.001
_SLOTS: Final = 17

_joined = msgspec.msgpack.Decoder(JoinedEvent).decode
_Open = tuple[Group, dict[int, float]]
"""The ratio of each candidate."""


def opener(policies: PolicyRepository, artefacts: ArtefactStore) -> Opener:
    """Opens the shadows of policies that choose from sets and declare any."""

    def open_one(policy: Watched, state: bytes) -> Observer | None:
        config = policy.config
        if config.agent.box is not None or not config.rollout.shadow_versions:
            return None
        return Shadows(Candidates(policies, artefacts), state)

    return open_one


class Budget:
    """Seconds of the processor that may be used: a declared share of the time that passes."""

    def __init__(self) -> None:
        self._at_ms = 0
        self._left_s = 0.0

    def at(self, now_ms: int, share: float) -> float:
        """What this turn may take. Little is saved up: a burst would hold the worker up."""
        passed_s = max(0, now_ms - self._at_ms) / 1000
        self._at_ms = now_ms
        self._left_s = min(self._left_s + share * passed_s, _LONGEST_S)
        return self._left_s

    def spend(self, used_s: float) -> None:
        self._left_s -= used_s


class Shadows:
    """An `Observer` of one policy's log that asks its candidates. `cpu_s`: time of the processor that the calling
    thread has used."""

    def __init__(
        self,
        candidates: Candidates,
        state: bytes = b"",
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._candidates = candidates
        self._cpu_s = cpu_s
        self._sums = read_state(state)
        self._waiting: OrderedDict[str, bytes] = OrderedDict()
        self._early: dict[str, float] = {}
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._budget = Budget()
        self._untold_scored = self._untold_skipped = 0

    # -- the log ------------------------------------------------------------------------------------

    def take(self, events: Sequence[LogEvent]) -> None:
        rewards: list[tuple[_Open, float]] = []
        for event in events:
            if event.type == "decision":
                self._wait_for(event.decision_id, event.body)
            elif event.type == "joined":
                rewards += self._join(event.decision_id, event.body)
        self._reward(rewards)

    def state(self) -> bytes:
        return encode_state(self._sums)

    def _wait_for(self, decision_id: str, body: bytes) -> None:
        self._waiting[decision_id] = body
        if len(self._waiting) > _WAITING:
            skipped, _ = self._waiting.popitem(last=False)
            self._early.pop(skipped, None)
            self._sums.skipped += 1
            self._untold_skipped += 1

    def _join(self, decision_id: str, body: bytes) -> list[tuple[_Open, float]]:
        is_waiting, scored = decision_id in self._waiting, self._open.pop(decision_id, None)
        if not is_waiting and scored is None:
            return []
        reward = _joined(body).reward
        if reward is not None and is_waiting:
            self._early[decision_id] = reward
        return [(scored, reward)] if scored is not None and reward is not None else []

    def _reward(self, rewards: Sequence[tuple[_Open, float]]) -> None:
        rows: dict[tuple[int, Group], list[tuple[float, float]]] = defaultdict(list)
        for (group, ratios), reward in rewards:
            for version, ratio in ratios.items():
                rows[version, group].append((ratio, reward))
        for (version, group), pairs in rows.items():
            if version in self._sums.versions:
                self._of(version, group).reward(*zip(*pairs, strict=True))

    def _of(self, version: int, group: Group) -> ShadowSums:
        return self._sums.versions.setdefault(version, {}).setdefault(group, ShadowSums())

    # -- scoring ------------------------------------------------------------------------------------

    async def act(self, policy: Watched, now_ms: int) -> None:
        has_looked = await self._candidates.refresh(policy, now_ms)
        ready = self._candidates.ready
        if has_looked:
            known = self._sums.versions
            self._sums.versions = {one.version: known.get(one.version, {}) for one in ready}
        allowance_s = self._budget.at(now_ms, policy.config.rollout.shadow_cpu)
        if not ready:
            self._waiting.clear()
            self._early.clear()
        elif self._waiting and allowance_s >= _LEAST_S:
            self._budget.spend(await asyncio.to_thread(self._score, ready, allowance_s))
        self._count(policy.keys.policy)
        if has_looked:
            self._show(policy.keys.policy)

    def _score(self, ready: Sequence[Candidate], allowance_s: float) -> float:
        """Scores what waits, oldest first, for `allowance_s`; returns how long it took, in the same seconds."""
        started_s = self._cpu_s()
        while self._waiting and self._cpu_s() - started_s < allowance_s:
            self._score_one(*self._waiting.popitem(last=False), ready)
        return self._cpu_s() - started_s

    def _score_one(self, decision_id: str, body: bytes, ready: Sequence[Candidate]) -> None:
        reward, seen = self._early.pop(decision_id, None), scoring.read(body)
        if seen is None:
            return
        ratios: dict[int, float] = {}
        for one in ready:
            scored = None
            if one.made_ms <= seen.record.made_ms:
                scored = scoring.score(one.served, seen)
            if scored is not None:
                ratios[one.version] = scored.ratio
                self._of(one.version, seen.group).score(scored)
        self._untold_scored += bool(ratios)
        if reward is not None:
            self._reward([((seen.group, ratios), reward)])
        elif ratios:
            self._open[decision_id] = (seen.group, ratios)
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)

    def _count(self, policy: str) -> None:
        metrics.SHADOW_SCORED.labels(policy).inc(self._untold_scored)
        metrics.SHADOW_SKIPPED.labels(policy).inc(self._untold_skipped)
        self._untold_scored = self._untold_skipped = 0

    def _show(self, policy: str) -> None:
        versions = sorted(self._sums.versions, reverse=True)
        for slot in range(_SLOTS):
            groups = self._sums.versions[versions[slot]] if slot < len(versions) else {}
            scored = sum(one.scored for one in groups.values())
            if scored:
                match = sum(one.matches for one in groups.values()) / scored
                metrics.SHADOW_MATCH.labels(policy, str(slot)).set(match)
            else:
                with suppress(KeyError):
                    metrics.SHADOW_MATCH.remove(policy, str(slot))
