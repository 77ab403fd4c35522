"""What every history module owes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.interfaces import HistoryModule
from agent_core.policy_learners.bandits.neural_linear import NeuralLinearConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.registry import AnyHistory, members
from agent_core.types import Floats, ProblemSpec
from tests.support.learners import action_set, agent_learner, fingerprint, made_up, ragged

_OBSERVATION_DIM, _ACTION_DIM = 3, 2
_CONFIGS = [member() for member in members(AnyHistory)]
_SUMMARIES = [c for c in _CONFIGS if c.build(_OBSERVATION_DIM, _ACTION_DIM).summary is not None]

each_history = pytest.mark.parametrize("config", _CONFIGS, ids=lambda config: config.kind)
each_summary = pytest.mark.parametrize("config", _SUMMARIES, ids=lambda config: config.kind)
lengths = st.integers(1, 20)


def _built(config: Any) -> HistoryModule:
    history: HistoryModule = config.build(_OBSERVATION_DIM, _ACTION_DIM)
    return history


def _spec(history: HistoryModule) -> ProblemSpec:
    return ProblemSpec(history.state_dim, _ACTION_DIM, 10, history.summary)


def _steps(count: int, seed: int = 0) -> list[tuple[Floats, Floats]]:
    """Observations and the actions that were taken on them."""
    generator = np.random.default_rng(seed)
    return [
        (
            generator.standard_normal(_OBSERVATION_DIM, "f4"),
            generator.standard_normal(_ACTION_DIM, "f4"),
        )
        for _ in range(count)
    ]


def _states(history: HistoryModule, steps: list[tuple[Floats, Floats]]) -> list[Floats]:
    """The state of every step of an episode."""
    carry, states = history.initial_carry(), []
    for observation, action in steps:
        states.append(history.state(carry, observation))
        carry = history.advance(carry, observation, action)
    return states


@each_history
@given(count=lengths)
def test_states_and_carries_keep_the_promised_shape(config: Any, count: int) -> None:
    history = _built(config)
    carry = history.initial_carry()
    size = carry.shape

    for observation, action in _steps(count):
        state = history.state(carry, observation)
        carry = history.advance(carry, observation, action)

        assert state.shape == (history.state_dim,)
        assert carry.shape == size
        assert state.dtype == carry.dtype == np.float32


@each_history
def test_nothing_that_was_given_is_changed_and_nothing_is_kept(config: Any) -> None:
    history = _built(config)
    (first, action), (second, _) = _steps(2)
    carry = history.advance(history.initial_carry(), first, action)
    before = [a.tobytes() for a in (carry, second, action)]

    states = [history.state(carry, second) for _ in range(2)]
    carries = [history.advance(carry, second, action) for _ in range(2)]

    assert [a.tobytes() for a in (carry, second, action)] == before
    assert states[0].tobytes() == states[1].tobytes()
    assert carries[0].tobytes() == carries[1].tobytes()


@each_history
def test_sessions_do_not_mix(config: Any) -> None:
    history = _built(config)
    episodes = [_steps(6, seed) for seed in (1, 2)]
    carries = [history.initial_carry() for _ in episodes]
    interleaved: list[list[Floats]] = [[], []]

    for both in zip(*episodes, strict=True):
        for at, (observation, action) in enumerate(both):
            interleaved[at].append(history.state(carries[at], observation))
            carries[at] = history.advance(carries[at], observation, action)

    for states, episode in zip(interleaved, episodes, strict=True):
        np.testing.assert_array_equal(states, _states(history, episode))


@each_summary
def test_a_network_gives_summaries_of_the_promised_length(config: Any) -> None:
    history = _built(config)
    assert history.summary is not None

    summaries = history.summary.build_network()(torch.zeros(5, history.state_dim))

    assert summaries.shape == (5, history.summary.dim)


@each_summary
def test_the_numpy_form_agrees_at_every_length_of_the_history(config: Any) -> None:
    history = _built(config)
    assert history.summary is not None
    network = history.summary.build_network()
    form = history.summary.numpy_form(network)
    # The last is what stands for "nothing follows".
    states = [*_states(history, _steps(20)), np.zeros(history.state_dim, np.float32)]

    got = [form(state) for state in states]

    expected = network(torch.from_numpy(np.stack(states))).detach().numpy()
    assert got[0].dtype == np.float32
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(np.stack(got), expected, atol=1e-5, rtol=0)


@each_summary
def test_the_same_observation_twice_gives_the_same_summary_to_the_last_bit(config: Any) -> None:
    # Dropout that stays active while deciding gives another state for the same observation.
    history = _built(config)
    assert history.summary is not None
    network = history.summary.build_network()
    form, state = history.summary.numpy_form(network), _states(history, _steps(5))[-1]
    batch = torch.from_numpy(state).unsqueeze(0)

    assert form(state).tobytes() == form(state).tobytes()
    assert torch.equal(network(batch), network(batch))
    assert torch.equal(network.train()(batch), network.eval()(batch))


@each_summary
def test_the_numpy_form_holds_copies_of_the_weights(config: Any) -> None:
    history = _built(config)
    assert history.summary is not None
    network = history.summary.build_network()
    form, state = history.summary.numpy_form(network), _states(history, _steps(5))[-1]
    before = form(state)

    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))

    np.testing.assert_array_equal(form(state), before)


@each_summary
def test_a_summary_depends_on_its_own_window_only(config: Any) -> None:
    history = _built(config)
    assert history.summary is not None
    network = history.summary.build_network()
    states = torch.from_numpy(np.stack(_states(history, _steps(12))))

    together = network(states)

    for at in range(len(states)):
        torch.testing.assert_close(network(states[at : at + 1])[0], together[at])


@each_summary
def test_every_weight_of_a_summary_gets_a_gradient_from_dqn(config: Any) -> None:
    history = _built(config)
    policy = DqnConfig().build_policy(_spec(history)).requires_grad_(True)
    states = torch.from_numpy(np.stack(_states(history, _steps(12))))
    sets = [action_set(np.random.default_rng(number), 3) for number in range(12)]

    policy.values(states, ragged(sets)).sum().backward()

    gradients = {n: p.grad for n, p in policy.named_parameters() if ".summary." in n}
    assert gradients
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert gradient.abs().sum() > 0, name


@each_summary
@pytest.mark.parametrize(
    "learner_config", [DqnConfig(), NeuralLinearConfig()], ids=["dqn", "neural_linear"]
)
def test_the_summary_that_is_served_is_learned_with_the_rest(
    config: Any, learner_config: Any
) -> None:
    spec = _spec(_built(config))
    learner = agent_learner(learner_config, spec)
    fresh = {name: value.clone() for name, value in learner.policy.state_dict().items()}

    learner.learn(made_up(130, spec=spec))

    served = learner.policy.state_dict()
    summaries = [name for name in served if ".summary." in name]
    assert summaries
    assert all(not torch.equal(served[name], fresh[name]) for name in summaries)


@each_summary
def test_a_policy_with_a_history_scores_in_numpy_as_in_torch(config: Any) -> None:
    history = _built(config)
    policy = DqnConfig().build_policy(_spec(history))
    scorer, actions = policy.scorer(), action_set(np.random.default_rng(0), 7)
    prepared = scorer.prepare(actions.features)

    for state in _states(history, _steps(10)):
        expected = policy.values(torch.from_numpy(state).unsqueeze(0), ragged([actions]))
        np.testing.assert_allclose(scorer.value(state, prepared), expected.detach(), atol=1e-4)


@each_summary
def test_the_state_dict_is_all_that_is_needed_to_score_alike(config: Any) -> None:
    history = _built(config)
    policy, other = (DqnConfig().build_policy(_spec(history)) for _ in range(2))
    state, features = (
        _states(history, _steps(5))[-1],
        action_set(np.random.default_rng(1), 4).features,
    )

    other.load_state_dict(policy.state_dict())

    first, second = policy.scorer(), other.scorer()
    np.testing.assert_array_equal(
        first.value(state, first.prepare(features)), second.value(state, second.prepare(features))
    )


@each_summary
def test_training_continues_bit_exactly(config: Any) -> None:
    spec = _spec(_built(config))
    learner, resumed = (agent_learner(DqnConfig(), spec) for _ in range(2))
    learner.learn(made_up(40, spec=spec))

    resumed.load_training_state(learner.training_state())
    for each in (learner, resumed):
        each.learn(made_up(20, seed=1, spec=spec))

    assert fingerprint(resumed.training_state()) == fingerprint(learner.training_state())
