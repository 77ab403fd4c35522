"""The composed agent that a server holds: one policy at one version, ready to decide."""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from agent_core.config import AgentConfig
from agent_core.errors import EmptyActionSetError, NonFiniteScoresError
from agent_core.functional.choice import LARGEST_SCORE, greedy, sample, uniform_from, with_floor
from agent_core.interfaces import ConsistentExploration, Policy, ServedPolicy
from agent_core.types import ActionScores, ActionSet, Decision, Doubles, Floats, Mask

_Positions: TypeAlias = npt.NDArray[np.intp]


class Agent:
    """Decides, and keeps nothing of it: the same inputs and seed give the same decision, bit for bit.

        agent = Agent(config, policy, experience=learner.experience)
        prepared = agent.prepare(actions)                     # once for a catalog, else per decision
        decision = agent.act(state, actions, prepared, seed=seed_of(decision_id, policy_name))

    `experience`: transitions that the policy has learned from; drives the schedules of exploration.
    """

    def __init__(self, config: AgentConfig, policy: ServedPolicy, *, experience: int) -> None:
        assert isinstance(policy, Policy), "continuous actions are for BoxAgent"
        self.config = config
        self.experience = experience
        self._scorer = policy.scorer()
        self._exploration = config.exploration.build()
        is_consistent = config.exploration.is_consistent
        self._consistent = cast(
            "ConsistentExploration | None", self._exploration if is_consistent else None
        )
        self._safety = config.safety.build()
        self._floor = config.min_propensity
        self._needs_whole_scores = bool({"spread", "members"} & config.exploration.needs)

    def prepare(self, actions: ActionSet) -> Floats:
        """`[A, H]`: the part of the scores that depends on the actions alone; may be cached."""
        return self._scorer.prepare(actions.features)

    def act(
        self,
        state: Floats,
        actions: ActionSet,
        prepared: Floats,
        *,
        seed: int,
        excluded: Mask | None = None,
        explore: bool = True,
        episode: int | None = None,
    ) -> Decision:
        """Chooses one of the A actions that are neither `excluded` nor unsafe.

        `state`: `[S]`. `prepared`: `prepare(actions)`, or its rows from a catalog. `seed`: 64 bits,
        the only source of chance. `episode`: 64 bits of the episode's id, for explorations that keep to
        one opinion for an episode; without it every decision is an episode of its own, drawn from the
        probabilities. `excluded`: `[A]` bool. `explore`: False plays the best action, without exploration
        and without the floor. In the result, removed actions have probability 0 and the value NaN: they
        are not scored.

        Raises:
            EmptyActionSetError: no action is left.
            NonFiniteScoresError: a score is NaN, infinite or beyond 1e150, or a spread that is used.
        """
        kept = self._kept(state, actions, excluded)
        scores, best, probabilities = self._distribution(state, prepared, kept, seed, explore)
        value = scores.value
        index = None
        if self._consistent is not None and explore and episode is not None:
            index = self._picked(self._consistent, scores, seed, episode)
        if index is None:
            index = sample(probabilities, uniform_from(seed))
        is_greedy = value.item(index) == best
        propensity = probabilities.item(index)
        if kept is not None:
            index = int(kept[index])
            probabilities = _scattered(probabilities, kept, len(actions), 0.0)
            value = _scattered(value, kept, len(actions), np.nan)
        return Decision(index, propensity, probabilities, value, is_greedy)

    def probabilities(
        self,
        state: Floats,
        actions: ActionSet,
        prepared: Floats,
        *,
        seed: int,
        excluded: Mask | None = None,
        explore: bool = True,
    ) -> Doubles:
        """`[A]` float64: how likely `act` is to choose each of the A actions; the arguments are the same.

        Raises:
            EmptyActionSetError, NonFiniteScoresError: as `act`.
        """
        kept = self._kept(state, actions, excluded)
        _, _, probabilities = self._distribution(state, prepared, kept, seed, explore)
        return probabilities if kept is None else _scattered(probabilities, kept, len(actions), 0.0)

    def allowed(self, state: Floats, actions: ActionSet, excluded: Mask | None) -> Mask:
        """`[A]` bool: the actions that are neither `excluded` nor unsafe."""
        safe = np.ones(len(actions), bool) if excluded is None else ~excluded
        return safe if self._safety is None else safe & self._safety.allowed(state, actions)

    def _kept(self, state: Floats, actions: ActionSet, excluded: Mask | None) -> _Positions | None:
        """The actions that may be taken; None when that is all of them."""
        if excluded is None and self._safety is None and actions.ids:
            return None
        allowed = None if excluded is None else ~excluded
        if self._safety is not None:
            safe = self._safety.allowed(state, actions)
            allowed = safe if allowed is None else allowed & safe
        kept = None if allowed is None or allowed.all() else np.flatnonzero(allowed)
        if len(actions if kept is None else kept) == 0:
            raise EmptyActionSetError(
                f"none of {len(actions)} actions is left after exclusion and safety; allow at least one"
            )
        return kept

    def _distribution(
        self, state: Floats, prepared: Floats, kept: _Positions | None, seed: int, explore: bool
    ) -> tuple[ActionScores, float, Doubles]:
        """Scores, the highest value, and probabilities, all of the kept actions alone."""
        if kept is not None:
            prepared = prepared.take(kept, 0)
        if explore and self._needs_whole_scores:
            scores = self._scorer.score(state, prepared)
        else:
            scores = ActionScores(self._scorer.value(state, prepared))
        best = _highest(scores)
        if not explore:
            return scores, best, greedy(scores.value)
        probabilities = self._exploration.probabilities(
            scores, experience=self.experience, seed=seed
        )
        return scores, best, with_floor(probabilities, self._floor)

    def _picked(
        self, exploration: ConsistentExploration, scores: ActionScores, seed: int, episode: int
    ) -> int | None:
        """The episode's own choice, or any action as often as the floor asks for; None without a choice."""
        own = exploration.pick(scores, episode, experience=self.experience)
        actions, uniform = len(scores.value), uniform_from(seed)
        share = min(self._floor, 1.0 / actions)
        if own is not None and uniform < actions * share:
            return min(int(uniform / share), actions - 1)
        return own


def seed_of(decision_id: str, salt: str) -> int:
    """The 64-bit seed of a decision: the same in every process, and another for another `salt`.

    `salt`: such as the policy's name; without a NUL character, which ends it.
    """
    data = f"{salt}\0{decision_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _highest(scores: ActionScores) -> float:
    """The highest value. Raises: NonFiniteScoresError if a value or a spread is unusable."""
    best = _usable_maximum(scores.value)
    if scores.spread is not None:
        _usable_maximum(scores.spread.reshape(-1))
    return best


def _usable_maximum(numbers: Doubles) -> float:
    # Extremes by position raise no floating-point flag, and stop at the first NaN.
    largest, smallest = numbers.item(numbers.argmax()), numbers.item(numbers.argmin())
    if largest <= LARGEST_SCORE and smallest >= -LARGEST_SCORE:
        return largest
    raise NonFiniteScoresError("a score is not finite, or beyond 1e150; serve another version")


def _scattered(numbers: Doubles, kept: _Positions, size: int, rest: float) -> Doubles:
    """`[size]`: `numbers` at the positions `kept`, `rest` elsewhere."""
    out = np.full(size, rest)
    out[kept] = numbers
    return out
