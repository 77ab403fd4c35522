"""SAC and its distributional form: targets by hand, units, the temperature, and what is saved."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from agent_core.networks.box import SquashedGaussianActor
from agent_core.policy_learners.actor_critic.distributional_sac import (
    DistributionalSacConfig,
    TruncatedQuantiles,
)
from agent_core.policy_learners.actor_critic.sac import LowestValue, SacConfig
from agent_core.policy_learners.soft import soft_actor_loss, soft_target
from agent_core.training.collate import collate
from agent_core.types import ActionSet, Box, ProblemSpec
from tests.support.box_networks import LINE, line_critics, line_step
from tests.support.learners import BOX_SPEC, made_up
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")
_LOWEST = LowestValue()
_soft_configs = pytest.mark.parametrize("config", [SacConfig, DistributionalSacConfig])


def _actor() -> SquashedGaussianActor:
    """Mean 0 and deviation exp(-1.5), the middle of its range, in every state."""
    actor = SquashedGaussianActor(LINE, (1,))
    for parameter in actor.parameters():
        torch.nn.init.zeros_(parameter)
    return actor.requires_grad_(False)


# The actor plays 0 at the peak of its density: log(0.3989423) + 1.5 over the unit box.
_LOG_PEAK = math.log(0.3989423) + 1.5
_NO_NOISE, _TEMPERATURE = torch.zeros(1, 1), torch.tensor(2.0)


def _target(**changes: Any) -> float:
    args = (
        _actor(),
        line_critics(0.5, -0.25),
        _LOWEST,
        line_step(**changes),
        _NO_NOISE,
        _TEMPERATURE,
    )
    return soft_target(*args, discount=0.5).item()


def test_the_target_takes_the_lower_critic_and_pays_for_density() -> None:
    # The lower critic values action 0 in state 2 at 2 - 0.25.
    assert _target() == pytest.approx(3 + 0.5 * (1.75 - 2 * _LOG_PEAK))


def test_a_terminated_step_is_worth_its_reward_and_a_truncated_one_bootstraps() -> None:
    assert _target(terminated=True) == 3.0
    assert _target(truncated=True) == _target()


def test_the_actor_loss_by_hand() -> None:
    batch = replace(line_step(), weight=torch.tensor([3.0]))

    loss, log_density = soft_actor_loss(
        _actor(), line_critics(0.5, -0.25), _LOWEST, batch, _NO_NOISE, _TEMPERATURE
    )

    # The lower critic values action 0 in state 1 at 0.75.
    assert log_density.item() == pytest.approx(_LOG_PEAK)
    assert loss.item() == pytest.approx(3 * (2 * _LOG_PEAK - 0.75))


def test_a_target_of_quantiles_leaves_the_highest_of_the_pooled_ones_out() -> None:
    outputs = torch.tensor([[[1.0, 9.0, 5.0]], [[2.0, 8.0, 0.0]]])

    following = TruncatedQuantiles(1, None).following(outputs)

    # Six in all: 0, 1, 2, 5, 8, 9. One for each of two critics is left out.
    assert following.tolist() == [[0, 1, 2, 5]]


def test_each_quantile_of_a_target_pays_for_density() -> None:
    args = _actor(), line_critics(0.5, -0.5, outputs=2), TruncatedQuantiles(1, None), line_step()

    target = soft_target(*args, _NO_NOISE, _TEMPERATURE, discount=0.5)

    # Quantiles of action 0 in state 2: 2.5, 2.5, 1.5 and 1.5, of which the two highest are left out.
    assert target.shape == (1, 2)
    assert target[0].tolist() == pytest.approx([3 + 0.5 * (1.5 - 2 * _LOG_PEAK)] * 2)


class _Lowest:
    def of(self, quantiles: torch.Tensor) -> torch.Tensor:
        return quantiles[..., 0]

    def of_numpy(self, quantiles: Any) -> Any:
        return quantiles[..., 0]


def test_the_actor_maximizes_the_risk_measure_of_all_quantiles_in_order() -> None:
    outputs = torch.tensor([[[4.0, 9.0]], [[2.0, 1.0]]])

    assert TruncatedQuantiles(1, None).worth(outputs).tolist() == [4.0]
    assert TruncatedQuantiles(1, _Lowest()).worth(outputs).tolist() == [1.0]


def test_the_quantile_loss_by_hand() -> None:
    # Two quantiles at 1/4 and 3/4 predict 0 and 2; the only target is 1, in the square part:
    # 1/4 * 1/2 + |3/4 - 1| * 1/2. The second critic predicts 1 twice: nothing.
    outputs = torch.tensor([[[0.0, 2.0]], [[1.0, 1.0]]])
    reading = TruncatedQuantiles(0, None)

    loss = reading.loss(outputs, torch.tensor([[1.0]]), torch.tensor([2.0]))

    assert loss.item() == pytest.approx(2 * 0.25)
    assert reading.errors(outputs, torch.tensor([[4.0]])).tolist() == [3.0]


def test_leaving_all_quantiles_out_is_refused() -> None:
    with pytest.raises(ValidationError, match="leaves no quantile"):
        DistributionalSacConfig(quantiles=3, dropped_per_critic=3)


@_soft_configs
def test_what_is_learned_does_not_depend_on_the_units_of_the_box(config: Any) -> None:
    metrics = []
    for scale in (1.0, 1000.0):
        spec = ProblemSpec(1, 1, 1, box=Box((-scale,), (scale,)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = config(hidden=(8,))
            learner = made.build_learner(made.build_policy(spec), spec)
        actions = ActionSet(("box",), np.array([[scale / 4]], np.float32))
        batch = collate(
            [a_transition(state=np.ones(1, np.float32), actions=actions, action=0)], spec, _CPU
        )
        metrics.append([learner.update(batch).metrics for _ in range(3)][-1])

    torch.testing.assert_close(metrics[0], metrics[1], rtol=1e-4, atol=1e-6)


@_soft_configs
def test_the_temperature_and_its_optimizer_are_saved_and_restored(config: Any) -> None:
    made = config(hidden=(4,), initial_temperature=0.5)
    learner = made.build_learner(made.build_policy(BOX_SPEC), BOX_SPEC)
    batch = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)
    learner.update(batch)
    saved = learner.training_state()

    other = made.build_learner(made.build_policy(BOX_SPEC), BOX_SPEC)
    other.load_training_state(saved)

    restored = other.training_state()
    assert saved["temperature.log"].item() != pytest.approx(math.log(0.5), abs=1e-6)
    assert saved["temperature_step.steps"].item() == 1
    for name in ("temperature.log", "temperature_step.moments", "noise.value"):
        assert torch.equal(restored[name], saved[name])


def test_the_temperature_falls_while_the_entropy_is_above_its_target() -> None:
    config = SacConfig(hidden=(4,), target_entropy=-5.0)
    learner = config.build_learner(config.build_policy(BOX_SPEC), BOX_SPEC)
    batch = collate(made_up(32, spec=BOX_SPEC), BOX_SPEC, _CPU)

    seen = [learner.update(batch).metrics["temperature"] for _ in range(5)]

    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 1.0


@_soft_configs
@pytest.mark.parametrize(("rate", "is_moved"), [(0.0, False), (0.1, True), (None, True)])
def test_a_temperature_moves_at_its_own_rate_or_at_that_of_the_networks(
    config: Any, rate: float | None, is_moved: bool
) -> None:
    made = config(hidden=(4,), initial_temperature=0.25, temperature_learning_rate=rate)
    learner = made.build_learner(made.build_policy(BOX_SPEC), BOX_SPEC)
    batch = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)

    seen = [learner.update(batch).metrics["temperature"].item() for _ in range(2)]

    # The first step of Adam is as long as its rate: 0, 0.1, or the default of the networks, 0.001.
    length = 0.001 if rate is None else rate
    assert abs(math.log(seen[1] / seen[0])) == pytest.approx(length, rel=1e-2, abs=1e-9)
    assert (seen[1] != pytest.approx(0.25, abs=1e-9)) == is_moved


def test_each_update_draws_noise_of_its_own() -> None:
    config = SacConfig(hidden=(4,), learning_rate=1e-12)
    learner = config.build_learner(config.build_policy(BOX_SPEC), BOX_SPEC)
    batch = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)

    first, second = (learner.update(batch).metrics["mean_target"] for _ in range(2))

    # All weights are as good as they were, so what differs is the draw.
    assert abs(first - second) > 1e-3
