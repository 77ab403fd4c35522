"""What a request holds from start to end: one policy with all that may decide for it, whole and immutable.

    serving = store.serving(policy)     one reference
    ... featurize, assign an arm, score, choose, record with `serving` only ...

A swap builds another `Serving` aside and replaces the reference; a request in flight keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_core.agent import Agent
from agent_core.box_agent import BoxAgent
from agent_core.types import Floats
from service.decisions.schemas import ArmName
from service.policies.config import PolicyConfig
from service.policies.encoding import Encoding
from service.policies.head import Rollout, Trip
from service.repository import PolicyKeys
from service.tally import Tally


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Served:
    """One policy at one version: a `ServedSets` or a `ServedBox`.

    `label`: `digits@42`. `tally` is the policy's, and survives swaps.
    """

    config: PolicyConfig
    config_hash: str
    feature_schema: str
    version: int
    label: str
    encoding: Encoding
    keys: PolicyKeys
    tally: Tally


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServedSets(Served):
    """Chooses among the actions that each request brings.

    `prepared`: `[C, H]`, the scorer's half of the catalog's C actions, so that 500 ids cost one row
    gather. `is_consistent`: whether the choices of one episode share one opinion.
    """

    agent: Agent
    prepared: Floats
    is_consistent: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServedBox(Served):
    """Makes continuous actions."""

    agent: BoxAgent


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """Who decides for a share of the subjects.

    `probability`: that a subject is in it, in (0, 1]. `served`: the version that decides; for arms without one (the
    holdback, a declared fallback) the live one, which knows what is allowed.
    """

    name: ArmName
    probability: float
    served: Served
    decides: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """One policy as requests meet it.

    `live`: the version that the pointer names; its configuration, encoding and keys are those of all arms.
    `arms`: probabilities sum to 1. `rollout_id`: the salt of who is in the canary; empty without one. `tripped`:
    the signal because of which the policy may not decide; empty if it may. `is_plain`: the live version decides
    alone, and no person is ever asked; found once, because every request asks.
    """

    live: Served
    arms: tuple[Arm, ...]
    rollout_id: str = ""
    tripped: str = ""
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        rule = self.live.config.approval
        is_asked = rule is not None and rule.is_about_decisions
        object.__setattr__(self, "is_plain", self.has_one_arm and not is_asked)

    @property
    def has_one_arm(self) -> bool:
        """Whether the live version decides for everybody."""
        return len(self.arms) == 1 and not self.tripped


def serving_of(
    live: Served,
    *,
    canary: Served | None = None,
    rollout: Rollout | None = None,
    trip: Trip | None = None,
    instead: Served | None = None,
) -> Serving:
    """Who decides, and how often. A canary whose version could not be loaded (None) has no share, and a trip
    whose version could not be is answered by the declared fallback.

    A tripped policy has one arm: neither a candidate nor a random holdback may do what it may not.
    """
    if trip is not None:
        decides = instead is not None
        arm = Arm("fallback", 1.0, instead or live, decides)
        return Serving(live, (arm,), tripped=trip.signal)
    holdback = live.config.rollout.holdback
    held = holdback.share if holdback else 0.0
    is_running = canary is not None and rollout is not None and rollout.share > 0
    share = rollout.share if rollout and is_running else 0.0
    made = [
        Arm("live", (1 - held) * (1 - share), live),
        Arm("canary", (1 - held) * share, canary or live),
        Arm("holdback", held, live, decides=False),
    ]
    arms = tuple(arm for arm in made if arm.probability > 0)
    return Serving(live, arms, rollout.rollout_id if rollout and is_running else "")
