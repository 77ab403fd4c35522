"""What every registered policy learner owes to whoever trains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.training.collate import collate
from tests.support.learners import (
    LEARNERS,
    agent_learner,
    checkpoint,
    continued,
    fingerprint,
    made_up,
    spec_of,
    twenty_updates_more,
    weights_and_moments,
)

pytestmark = pytest.mark.parametrize(
    "config_class", LEARNERS, ids=lambda config: config.model_fields["kind"].default
)


@pytest.mark.parametrize("cuts", [[1], [7, 8, 30], [50]])
def test_what_is_learned_does_not_depend_on_how_the_stream_was_cut(
    config_class: type[Any], cuts: list[int]
) -> None:
    stream = made_up(120, spec=spec_of(config_class))
    whole, cut = agent_learner(config_class()), agent_learner(config_class())

    whole.learn(stream)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        cut.learn(stream[start:end])

    assert fingerprint(cut.training_state()) == fingerprint(whole.training_state())


def test_the_same_seed_gives_the_same_learner_and_leaves_global_randomness_alone(
    config_class: type[Any],
) -> None:
    before = torch.get_rng_state()

    first, second = agent_learner(config_class()), agent_learner(config_class())

    assert fingerprint(first.training_state()) == fingerprint(second.training_state())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_saved_state_is_not_touched_by_further_learning_nor_by_loading(
    config_class: type[Any],
) -> None:
    learner = agent_learner(config_class())
    learner.learn(made_up(30, spec=spec_of(config_class)))
    saved = learner.training_state()
    before = fingerprint(saved)

    learner.learn(made_up(10, seed=1, spec=spec_of(config_class)))
    agent_learner(config_class()).load_training_state(saved)

    assert fingerprint(saved) == before


def test_replaying_teaches_exactly_those_that_say_so(config_class: type[Any]) -> None:
    learner = agent_learner(config_class())
    learner.learn(made_up(30, spec=spec_of(config_class)))
    before = fingerprint(learner.training_state())

    learner.extra_updates(3)

    changed = fingerprint(learner.training_state()) != before
    assert changed == ("replay" in config_class.capabilities)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), 1e39])
def test_a_transition_that_is_not_finite_in_float32_teaches_nothing(
    config_class: type[Any], reward: float
) -> None:
    learner, other = agent_learner(config_class()), agent_learner(config_class())
    spec = spec_of(config_class)
    good, bad = made_up(20, spec=spec), made_up(1, seed=1, spec=spec)[0]
    object.__setattr__(bad, "reward", reward)

    learner.learn([*good[:10], bad, *good[10:]])
    other.learn(good)

    assert (learner.skipped_transitions, learner.experience) == (1, 20)
    assert torch.equal(_flat_policy(learner), _flat_policy(other))


def test_an_update_with_a_gradient_that_is_not_finite_moves_nothing(
    config_class: type[Any],
) -> None:
    config = config_class()
    spec = spec_of(config)
    learner = config.build_learner(config.build_policy(spec), spec)
    good, bad = (collate(made_up(4, seed, spec), spec, torch.device("cpu")) for seed in (0, 1))
    bad.weight[2] = float("nan")
    learner.update(good)
    before = weights_and_moments(learner)

    metrics = learner.update(bad).metrics

    assert weights_and_moments(learner) == before
    assert metrics.get("skipped_non_finite", 0) == ("replay" in config_class.capabilities)


def test_metrics_are_finite_numbers(config_class: type[Any]) -> None:
    metrics = agent_learner(config_class()).learn(made_up(30, spec=spec_of(config_class)))

    assert all(np.isfinite(value) for value in metrics.values())


def test_training_continues_bit_exactly_in_this_process(
    config_class: type[Any], tmp_path: Path
) -> None:
    learner = agent_learner(config_class())
    learner.learn(made_up(95, spec=spec_of(config_class)))
    checkpoint(learner.training_state()).save(tmp_path)

    resumed = continued(tmp_path, config_class().kind)
    learner.learn(twenty_updates_more(config_class()))

    assert resumed == fingerprint(learner.training_state())


def _flat_policy(learner: Any) -> torch.Tensor:
    return torch.cat([v.double().flatten() for v in learner.policy.state_dict().values()])
