"""Updates of every learner as one graph: the same state, metrics and errors as calls of the learner."""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from agent_core.interfaces import Update
from agent_core.networks.recurrent import LstmSummary
from agent_core.policy_learners.bandits.neural_linear import NeuralLinearConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.safety.reward_constrained import ConstrainedLearner, RewardConstrainedConfig
from agent_core.training.collate import collate
from agent_core.training.engine.batches import in_room
from agent_core.training.engine.engine import UpdateEngine
from agent_core.training.engine.program import (
    Program,
    owner_of,
    state_of,
    traced,
    twin_of,
)
from agent_core.training.engine.trial import fastest
from tests.support.engine import ROWS, Work, batch_of, small, work_of
from tests.support.learners import LEARNERS, SPEC, made_up, one_by_one, weights_and_moments

_COUNT, _BLOCKS = 3, 4
_PERIODS = {"target_period_updates": 2, "actor_period_updates": 2}
"""With three updates at once, every other block ends a period twice."""


def _kind(config_class: type[Any]) -> str:
    return str(config_class.model_fields["kind"].default)


# REINFORCE makes its one step on a rollout by itself: no runner is asked.
_COMPILED = [c for c in LEARNERS if "gradient" in c.capabilities and _kind(c) != "reinforce"]
every_learner = pytest.mark.parametrize("config_class", _COMPILED, ids=_kind)
_OVER_SETS = [config_class for config_class in _COMPILED if "sets" in config_class.capabilities]
every_learner_over_sets = pytest.mark.parametrize("config_class", _OVER_SETS, ids=_kind)
_ROOM = 5 * ROWS
"""Of a part whose sets have up to five actions each."""


_Made = dict[Hashable, Program]
_TRACED: dict[type[Any], _Made] = {}
"""Of each learner, for all tests of it: tracing takes seconds, and what was traced keeps no weights."""


class _Programs:
    """Makes updates by graphs, one for each pattern of periods, as the engine does."""

    def __init__(self, made: _Made | None = None) -> None:
        self.made: _Made = {} if made is None else made

    def run(self, work: Work) -> list[Update]:
        learner = owner_of(work.step)
        due = learner.due(work.times)
        if due not in self.made:
            twin = twin_of(work.step)
            graph, names, _ = traced(twin, work.batches, work.times)
            counted = owner_of(twin).updates - learner.updates
            self.made[due] = Program("graph", graph, names, counted)
        return self.made[due].run(learner, work.batches)


def _assert_same_state(work: Work, wanted: Work, *, is_softmax: bool = False) -> None:
    """`is_softmax`: the last number that is served is the bias of all logits. It has no gradient but rounding,
    which Adam makes steps of, and what it is does not matter."""
    found = []
    for learner in (owner_of(work.step), owner_of(wanted.step)):
        served, *others = state_of(learner)
        found.append([learner.updates, served[:-1] if is_softmax else served, *others])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def _assert_near(work: Work, wanted: Work) -> None:
    """For a softmax over sets of a few actions: a unit that is active for all of them adds the same to their logits,
    so its weights have no gradient but rounding either. What all weights are together must agree."""
    found, state = (
        torch.cat([*map(torch.flatten, state_of(owner_of(one.step)))]) for one in (work, wanted)
    )
    assert torch.linalg.vector_norm(found - state) < 1e-3 * torch.linalg.vector_norm(state)


def _assert_same_updates(found: Sequence[Update], wanted: Sequence[Update]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert list(one.metrics) == list(other.metrics)
        floats = [{k: v.float() for k, v in update.metrics.items()} for update in (one, other)]
        torch.testing.assert_close(*floats, rtol=1e-3, atol=1e-4)
        if other.errors is not None:
            torch.testing.assert_close(one.errors, other.errors, rtol=1e-3, atol=1e-4)


@every_learner
def test_a_graph_makes_the_same_updates_block_after_block(config_class: type[Any]) -> None:
    plain = work_of(small(config_class, **_PERIODS), _COUNT)
    graphs = _Programs(_TRACED.setdefault(config_class, {}))
    work = plain._replace(step=twin_of(plain.step))

    for _ in range(_BLOCKS):
        found, wanted = graphs.run(work), one_by_one(*plain)
        _assert_same_updates(found, wanted)
        is_softmax = {"actor", "sets"} <= config_class.capabilities
        _assert_same_state(work, plain, is_softmax=is_softmax)

    periods = [name for name in _PERIODS if name in config_class.model_fields]
    assert len(graphs.made) == (2 if periods else 1)


@every_learner_over_sets
def test_updates_are_the_same_in_tables_with_room_to_spare(config_class: type[Any]) -> None:
    plain = work_of(small(config_class), _COUNT, is_ragged=True)
    work = plain._replace(
        step=twin_of(plain.step), batches=in_room(plain.batches, plain.times, _ROOM)
    )

    for _ in range(_BLOCKS):
        _assert_same_updates(one_by_one(*work), one_by_one(*plain))
        _assert_same_state(work, plain, is_softmax="actor" in config_class.capabilities)


@every_learner_over_sets
def test_a_graph_makes_them_there_too(config_class: type[Any]) -> None:
    plain = work_of(small(config_class), _COUNT, is_ragged=True)
    work = plain._replace(
        step=twin_of(plain.step), batches=in_room(plain.batches, plain.times, _ROOM)
    )
    graphs = _Programs()

    for _ in range(_BLOCKS):
        found, wanted = graphs.run(work), one_by_one(*plain)
        _assert_same_updates(found, wanted)
        if "actor" in config_class.capabilities:
            _assert_near(work, plain)
        else:
            _assert_same_state(work, plain)


@pytest.mark.parametrize("options", [{"double": True}, {"dueling": True}], ids=str)
def test_one_graph_serves_all_batches_that_fit_in_its_tables(options: dict[str, bool]) -> None:
    plain = work_of(small(DqnConfig, **options), _COUNT, is_ragged=True)
    graphs, step = _Programs(), twin_of(plain.step)

    for seed in range(_BLOCKS):
        batches = batch_of(DqnConfig(), _COUNT, is_ragged=True, seed=seed)
        work = Work(step, in_room(batches, _COUNT, _ROOM), _COUNT)
        _assert_same_updates(graphs.run(work), one_by_one(plain.step, batches, _COUNT))

    assert len(graphs.made) == 1


@every_learner
def test_a_twin_does_the_same_and_shares_nothing(config_class: type[Any]) -> None:
    plain = work_of(small(config_class), 1)
    before, twin = weights_and_moments(owner_of(plain.step)), twin_of(plain.step)

    twin(plain.batches)
    untouched = weights_and_moments(owner_of(plain.step))
    plain.step(plain.batches)

    assert untouched == before
    assert (
        weights_and_moments(owner_of(plain.step)) == weights_and_moments(owner_of(twin)) != before
    )


@every_learner
def test_a_graph_refuses_what_the_learner_refuses(config_class: type[Any]) -> None:
    work = work_of(small(config_class, **_PERIODS), _COUNT)
    before = weights_and_moments(owner_of(work.step))
    work.batches.weight.fill_(float("nan"))

    updates = _Programs(_TRACED.setdefault(config_class, {})).run(work)

    assert [update.metrics["skipped_non_finite"].item() for update in updates] == [1.0] * _COUNT
    assert weights_and_moments(owner_of(work.step)) == before


def _constrained() -> ConstrainedLearner:
    config = small(DqnConfig)
    learner = config.build_learner(config.build_policy(SPEC), SPEC)
    limits = RewardConstrainedConfig(cost_limit=0.1, multiplier_rate=0.1, hidden=(4,))
    constrained = limits.constrain(learner, SPEC)
    assert isinstance(constrained, ConstrainedLearner)
    return constrained


@pytest.mark.parametrize("is_ragged", [False, True])
@pytest.mark.parametrize("name", ["update", "learn_cost"])
def test_a_constraint_is_part_of_the_graph(name: str, is_ragged: bool) -> None:
    batches = batch_of(DqnConfig(), _COUNT, is_ragged=is_ragged)
    plain = Work(getattr(_constrained(), name), batches, _COUNT)
    known = in_room(batches, _COUNT, _ROOM)
    graphs, work = _Programs(), plain._replace(step=twin_of(plain.step), batches=known)

    for _ in range(_BLOCKS):
        found, wanted = graphs.run(work), one_by_one(*plain)
        _assert_same_updates(found, wanted)
        _assert_same_state(work, plain)


# What torch's compiler imports is older than torch.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_an_lstm_is_compiled_with_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    config, spec = small(DqnConfig), replace(SPEC, state_dim=8, summary=LstmSummary(4, dim=3))
    learner = config.build_learner(config.build_policy(spec), spec)
    batches = collate(made_up(2 * ROWS, spec=spec), spec, torch.device("cpu"))
    work = Work(twin_of(learner.update), batches, 2)

    form = fastest(learner.update, batches, 2, "full")
    for _ in range(_BLOCKS):
        found, wanted = form.run(*work), one_by_one(learner.update, batches, 2)
        _assert_same_updates(found, wanted)

    assert (form.program is not None) == (shutil.which("g++") is not None)
    assert "refused" not in caplog.text
    assert torch._C._get_mkldnn_enabled()


def test_only_methods_of_learners_can_be_run() -> None:
    with pytest.raises(TypeError, match="not a method of a learner"):
        owner_of(lambda batch: Update({}))


# What torch's compiler imports is older than torch.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.parametrize("is_ragged", [False, True])
def test_with_a_compiler_updates_are_compiled_and_without_one_they_are_the_same(
    is_ragged: bool,
) -> None:
    plain = work_of(small(DqnConfig), 2, is_ragged=is_ragged)
    work = plain._replace(step=twin_of(plain.step))

    form = fastest(*plain, "full")
    for _ in range(_BLOCKS):
        found, wanted = form.run(*work), one_by_one(*plain)
        _assert_same_updates(found, wanted)

    assert (form.program is not None) == (shutil.which("g++") is not None)
    _assert_same_state(work, plain)


def test_only_what_counts_as_an_update_of_the_learner_is_counted() -> None:
    learner = _constrained()
    batch = batch_of(DqnConfig(), _COUNT)
    counts = []

    for step in (learner.learn_cost, learner.update):
        _Programs().run(Work(step, batch, _COUNT))
        counts.append(learner.updates)

    assert counts == [0, _COUNT]


def test_a_policy_that_observations_change_is_not_part_of_a_program() -> None:
    config = small(NeuralLinearConfig)
    learner = config.build_learner(config.build_policy(SPEC), SPEC)
    constrained = RewardConstrainedConfig(cost_limit=0.1).constrain(learner, SPEC)
    engine = UpdateEngine(tune_after_updates=0)

    # The expected cost follows the posterior mean, which `observe` changes and no update does.
    updates = engine.run(constrained.update, batch_of(config, _COUNT), _COUNT)

    assert len(updates) == _COUNT
    assert engine.settle() == {}
