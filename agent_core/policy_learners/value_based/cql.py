"""Conservative Q-learning: what the data does not show is not hoped for.

Kumar et al. 2020, CQL(H) for discrete actions, on double Q-learning targets. The soft maximum runs over the
actions that were available to each decision, and the value that is subtracted is that of the taken one.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from agent_core.functional.segments import segment_max, segment_sum, spread
from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.temporal_difference import (
    ActionValuePolicy,
    HuberConfig,
    Losses,
    TemporalDifferenceLearner,
    double_target,
    huber_losses,
)
from agent_core.types import ProblemSpec, RaggedActions, TransitionBatch


class CqlConfig(HuberConfig):
    """Configures conservative Q-learning.

    `alpha`: how much a unit of conservatism counts beside a unit of temporal-difference loss.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "td_error"}
    )
    kind: Literal["cql"] = "cql"
    alpha: float = Field(default=1.0, ge=0)

    def build_policy(self, spec: ProblemSpec) -> ActionValuePolicy:
        return ActionValuePolicy(spec, self.hidden)

    def build_learner(self, policy: ActionValuePolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        loss = partial(cql_losses, discount=self.discount, alpha=self.alpha, bend=self.huber_bend)
        return TemporalDifferenceLearner(policy, policy.network, loss, self)


def conservatism(
    values: torch.Tensor, actions: RaggedActions, chosen: torch.Tensor
) -> torch.Tensor:
    """`[B]`, never negative: logsumexp of `values` `[N]` over each set minus the value of the taken row.

    Kumar et al. 2020, eq. 4. `chosen`: `[B]`, the rows that were taken.
    """
    highest = segment_max(values.detach(), actions)
    shifted = (values - spread(highest, actions)).exp()
    soft_maximum = highest + segment_sum(shifted, actions).log()
    return soft_maximum - values.index_select(0, chosen)


def cql_losses(
    trained: ActionValueNetwork,
    target: ActionValueNetwork,
    batch: TransitionBatch,
    discount: float,
    alpha: float,
    bend: float | None = 1.0,
) -> Losses:
    """Huber losses against the double target, plus `alpha` times `conservatism`; Kumar et al. 2020, eq. 4."""
    wanted = double_target(trained, target, batch, discount)
    values = trained(batch.state, batch.actions)
    chosen = batch.chosen_rows()
    losses, errors, targets = huber_losses(values.index_select(0, chosen), wanted, bend)
    return Losses(losses + alpha * conservatism(values, batch.actions, chosen), errors, targets)
