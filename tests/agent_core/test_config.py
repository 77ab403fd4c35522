"""A policy file is read whole, checked whole, and refused with every problem and its fix."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.config import AgentConfig, load_policy_data, parse_agent_config
from agent_core.errors import ConfigError
from agent_core.exploration.none import NoExplorationConfig
from agent_core.interfaces import Policy
from agent_core.registry import AnyExploration, AnyLearner, members
from agent_core.types import ProblemSpec

_LINEAR: dict[str, Any] = {
    "observation": {"kind": "vector", "dim": 3},
    "policy_learner": {"kind": "linear"},
    "exploration": {"kind": "ucb"},
    "action_representation": {"kind": "one_hot", "ids": ["a", "b"]},
}
_DQN: dict[str, Any] = {
    **_LINEAR,
    "policy_learner": {"kind": "dqn"},
    "exploration": {"kind": "epsilon_greedy"},
    "replay": {"kind": "fifo"},
}
_IDENTITY = {"action_representation": {"kind": "identity"}}


_FITTING_DQN = "use exploration none or epsilon_greedy or boltzmann or warm_up"


def _kinds_with(capability: str) -> str:
    """The learners that have it, as a message lists them."""
    kinds = [c().kind for c in members(AnyLearner) if {capability, "sets"} <= c.capabilities]
    return " or ".join(kinds)


def _problems(data: Any) -> dict[str, str]:
    """Path -> "problem; fix"."""
    with pytest.raises(ConfigError) as caught:
        parse_agent_config(data)
    return {p.path: f"{p.problem}; {p.fix}" for p in caught.value.problems}


# -- what a good file gives ---------------------------------------------------------------------


def test_the_spec_follows_from_features_and_representation() -> None:
    config = parse_agent_config({**_LINEAR, "actions": {"kind": "vector", "dim": 5}})

    # Two ids and one slot for the others, then five features.
    assert config.spec == ProblemSpec(state_dim=3, action_dim=8, max_actions=1000)


@pytest.mark.parametrize("base", [_LINEAR, _DQN], ids=["linear", "dqn"])
def test_a_decision_without_an_observation_is_a_context_free_bandit(base: dict[str, Any]) -> None:
    config = parse_agent_config({**base, "observation": {"kind": "none"}})
    policy = config.policy_learner.build_policy(config.spec)
    assert isinstance(policy, Policy)
    scorer = policy.scorer()
    actions = config.representation().encode(
        ("a", "b"), config.action_featurizer().encode_matrix([[], []], 2)
    )

    scores = scorer.score(
        config.observation_featurizer().encode_vector([]), scorer.prepare(actions)
    )

    assert config.spec.state_dim == 0
    assert scores.value.shape == (2,)


def test_names_of_a_config_change_with_what_they_name() -> None:
    config = parse_agent_config(_LINEAR)
    explores_more = parse_agent_config({**_LINEAR, "exploration": {"kind": "ucb", "alpha": 2}})
    sees_more = parse_agent_config({**_LINEAR, "observation": {"kind": "vector", "dim": 4}})

    assert len({config.config_hash, explores_more.config_hash, sees_more.config_hash}) == 3
    assert config.feature_schema == explores_more.feature_schema != sees_more.feature_schema


def test_a_default_counts_as_if_it_were_written() -> None:
    spelled_out = {**_LINEAR, "exploration": {"kind": "ucb", "alpha": 1}, "min_propensity": 0}

    assert parse_agent_config(spelled_out) == parse_agent_config(_LINEAR)
    assert parse_agent_config(spelled_out).config_hash == parse_agent_config(_LINEAR).config_hash


@pytest.mark.parametrize("data", [_LINEAR, _DQN], ids=["linear", "dqn"])
def test_a_config_survives_json(data: dict[str, Any]) -> None:
    config = parse_agent_config(data)

    again = parse_agent_config(json.loads(config.model_dump_json()))

    assert again == config
    assert again.config_hash == config.config_hash


_FILES = {
    "policy.json": json.dumps({**_LINEAR, "min_propensity": 0.001}),
    "policy.yaml": """
        observation: {kind: vector, dim: 3}
        policy_learner: {kind: linear}
        exploration:
          kind: ucb
        action_representation:
          kind: one_hot
          ids: [a, b]
        min_propensity: 1e-3
    """,
    "policy.toml": """
        min_propensity = 0.001
        observation = {kind = "vector", dim = 3}
        policy_learner.kind = "linear"
        [exploration]
        kind = "ucb"
        [action_representation]
        kind = "one_hot"
        ids = ["a", "b"]
    """,
}


@pytest.mark.parametrize("name", _FILES)
def test_yaml_toml_and_json_say_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(_FILES[name])

    config = parse_agent_config(load_policy_data(path))

    assert config == parse_agent_config({**_LINEAR, "min_propensity": 0.001})


# -- files that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "x: 1\ny: {z: 1, z: 2}", "'z' occurs twice"),
        ("a.json", '{"x": {"z": 1, "z": 2}}', "'z' occurs twice"),
        ("a.toml", "z = 1\nz = 2", "cannot be parsed"),
        ("a.yaml", "x: [1", "cannot be parsed"),
        ("a.yaml", "x: !!python/object/apply:os.getcwd []", "cannot be parsed"),
        ("a.json", "[1]", "not a mapping"),
        ("a.yaml", "", "not a mapping"),
        ("a.ini", "x = 1", r"use one of \.yaml, \.yml, \.toml, \.json"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(ConfigError, match=message):
        load_policy_data(path)


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy_data(tmp_path / "gone.yaml")


# -- malformed fields ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"explorationn": 1}, "explorationn", "is not a known field; did you mean 'exploration'?"),
        ({"observation": {}}, "observation.kind", "is missing; add one of: vector, named, none"),
        (
            {"exploration": {"kind": "thomson"}},
            "exploration.kind",
            "'thomson' is not known; did you mean 'thompson'?",
        ),
        (
            {"exploration": {"kind": "ucb", "alhpa": 1}},
            "exploration.alhpa",
            "is not a known field; did you mean 'alpha'?",
        ),
        (
            {"observation": {"kind": "vector", "dim": 0}},
            "observation.dim",
            "is too small; use at least 1",
        ),
        ({"observation": {"kind": "vector"}}, "observation.dim", "is missing; add it"),
        (
            {"schedule": {"batch_size": "many"}},
            "schedule.batch_size",
            "is not a whole number; use one",
        ),
        ({"min_propensity": float("nan")}, "min_propensity", "is not finite; use a finite number"),
        (
            {"exploration": {"kind": "epsilon_greedy", "final_epsilon": 0.1}},
            "exploration",
            "a decay needs both `final_epsilon` and `decay_transitions`; give both or neither",
        ),
        (
            {
                "observation": {
                    "kind": "named",
                    "fields": {"user.age": {"type": "number", "scal": 1}},
                }
            },
            "observation.fields.user.age.scal",
            "is not a known field; did you mean 'scale'?",
        ),
        (
            {
                "observation": {
                    "kind": "named",
                    "fields": {"x": {"type": "category", "values": [True]}},
                }
            },
            "observation.fields.x.values.0",
            "is not a string and is not a whole number; put it in quotes or use one",
        ),
        ({"safety": "none"}, "safety", "is not a mapping; use names and values"),
    ],
)
def test_a_malformed_field_is_named_with_its_fix(
    change: dict[str, Any], path: str, message: str
) -> None:
    assert _problems({**_LINEAR, **change}) == {path: message}


def test_a_refusal_does_not_dump_what_it_found() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_agent_config({**_LINEAR, "observation": {"kind": "vector", "dim": "s3cret"}})

    assert "s3cret" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_something_that_is_no_mapping_is_refused() -> None:
    assert _problems([1]) == {"": "is not a mapping; use names and values"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*AgentConfig.model_fields, "x"]), _json),
    st.sampled_from([_LINEAR, _DQN]),
)
def test_any_json_is_accepted_or_refused_as_a_config(
    change: dict[str, Any], base: dict[str, Any]
) -> None:
    with suppress(ConfigError):
        assert parse_agent_config({**base, **change}).spec.action_dim > 0


# -- parts that cannot work together ------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (
            {**_DQN, "exploration": {"kind": "ucb"}},
            "exploration",
            f"'ucb' needs 'spread', which 'dqn' lacks; {_FITTING_DQN}, or policy_learner "
            + _kinds_with("spread"),
        ),
        (
            {**_DQN, "exploration": {"kind": "square_cb"}},
            "exploration",
            f"'square_cb' needs 'bandit', which 'dqn' lacks; {_FITTING_DQN}, or policy_learner "
            + _kinds_with("bandit"),
        ),
        (
            {**_DQN, "replay": None},
            "replay",
            "is missing, and 'dqn' learns from it; add it: fifo or prioritized or n_step or hindsight or mixed",
        ),
        (
            {**_LINEAR, "replay": {"kind": "fifo"}},
            "replay",
            "is never read by 'linear'; remove it",
        ),
        (
            {
                **_DQN,
                "replay": {"kind": "fifo", "capacity": 50},
                "schedule": {"warmup_transitions": 10},
            },
            "schedule.batch_size",
            "64 is more than the 50 transitions that the replay holds; "
            "lower it, or raise replay.capacity",
        ),
        (
            {**_DQN, "schedule": {"warmup_transitions": 100_001}},
            "schedule.warmup_transitions",
            "100001 is more than the 100000 transitions that the replay holds; "
            "lower it, or raise replay.capacity",
        ),
        (
            {**_LINEAR, "max_actions": 10, "min_propensity": 0.2},
            "min_propensity",
            "10 actions of that probability each are more than 1 in total; "
            "use at most 0.1, or lower max_actions",
        ),
        (
            {**_LINEAR, **_IDENTITY},
            "action_representation",
            "'identity' has nothing to tell actions apart by: they have no features; "
            "declare features under actions, or use one_hot or binary with their ids",
        ),
        (
            {**_LINEAR, "action_representation": {"kind": "binary", "ids": ["a", "b", "a"]}},
            "action_representation.ids",
            "lists 'a' more than once; list each id once",
        ),
        (
            {**_LINEAR, "max_actions": 1},
            "action_representation.ids",
            "2 ids, but max_actions is 1; raise max_actions",
        ),
        (
            {**_LINEAR, "safety": {"kind": "action_filter", "bounds": [{"feature": 3, "low": 0}]}},
            "safety.bounds.0.feature",
            "represented actions have 3 features, counted from 0; use at most 2",
        ),
        (
            {
                **_LINEAR,
                "safety": {
                    "kind": "stack",
                    "parts": [
                        {"kind": "none"},
                        {
                            "kind": "action_filter",
                            "required": [{"feature": 9, "of": "state", "op": "<", "value": 0}],
                        },
                    ],
                },
            },
            "safety.parts.1.required.0.feature",
            "states have 3 features, counted from 0; use at most 2",
        ),
        (
            {**_LINEAR, "policy_learner": {"kind": "disjoint_linear"}},
            "action_representation",
            "'one_hot' hides the ids, and 'disjoint_linear' has a model for each; use position",
        ),
        (
            {**_LINEAR, "action_representation": {"kind": "position"}},
            "action_representation",
            "'position' needs 'arms', which 'linear' lacks; use action_representation "
            "identity or one_hot or binary, or policy_learner disjoint_linear",
        ),
    ],
)
def test_a_conflict_is_named_with_its_fix(data: dict[str, Any], path: str, message: str) -> None:
    assert _problems(data) == {path: message}


_NOISE = {"kind": "gaussian", "sigma": 0.2, "final_sigma": 1e-4, "decay_transitions": 10}


@pytest.mark.parametrize(
    ("side", "exploration", "path", "message"),
    [
        (
            1e6,
            _NOISE,
            "actions",
            "the volume is 10^384; a density, such as 1 / volume, lies between 1e-300 and 1e300; "
            "use other units, in which sides are nearer to 1",
        ),
        (1e-6, {"kind": "none"}, "actions", "the volume is 10^-384; .*"),
        # At its peak 1 / (sqrt(2 pi) * sigma * 0.0005) in each of 64: 1e300 with a sigma of 0.0164.
        (
            1e-3,
            _NOISE,
            "exploration.final_sigma",
            r"noise of 0.0001 has densities above 1e300 here; use at least 0.016, or .* longer",
        ),
        (
            1e-3,
            {"kind": "warm_up", "then": {"kind": "gaussian", "sigma": 0.01}},
            "exploration.then.sigma",
            "noise of 0.01 has densities above 1e300 here; use at least 0.016, .*",
        ),
    ],
)
def test_a_box_of_64_dimensions_without_numbers_for_its_densities_is_refused(
    side: float, exploration: dict[str, Any], path: str, message: str
) -> None:
    (problem,) = _problems(_in_a_box([0.0] * 64, [side] * 64, exploration)).items()

    assert problem[0] == path
    assert re.fullmatch(message.replace("10^", r"10\^"), problem[1])


def test_noise_that_float32_cannot_follow_is_refused() -> None:
    # Next to a million float32 numbers are 1/16 apart, and half of this box is 1/2.
    assert _problems(_in_a_box([1e6], [1e6 + 1], {"kind": "gaussian", "sigma": 0.1})) == {
        "exploration.sigma": "noise of 0.1 is finer than the steps of float32 here; "
        "use at least 0.12, or a box that is nearer to 0"
    }


@pytest.mark.parametrize("side", [0.02, 1.0, 4e4])
def test_64_dimensions_are_no_problem_by_themselves(side: float) -> None:
    sigma = 1e-4 if side >= 1 else 1e-3
    config = _in_a_box([-side / 2] * 64, [side / 2] * 64, {"kind": "gaussian", "sigma": sigma})

    assert parse_agent_config(config).box is not None


def _in_a_box(low: list[float], high: list[float], exploration: dict[str, Any]) -> dict[str, Any]:
    return {
        "observation": {"kind": "vector", "dim": 1},
        "actions": {"kind": "box", "low": low, "high": high},
        "policy_learner": {"kind": "td3"},
        "exploration": exploration,
        "replay": {"kind": "fifo"},
    }


def test_conflicts_are_reported_together_with_malformed_fields() -> None:
    problems = _problems(
        {
            **_LINEAR,
            **_IDENTITY,
            "policy_learner": {"kind": "dqn"},
            "min_propensity": 0.5,
            "schedule": {"batch_size": 0},
            "safty": {},
        }
    )

    assert set(problems) == {
        "safty",
        "schedule.batch_size",
        "exploration",
        "replay",
        "min_propensity",
        "action_representation",
    }


def test_a_config_built_in_code_is_checked_as_well() -> None:
    with pytest.raises(ConfigError, match="needs 'spread'"):
        AgentConfig.model_validate({**_DQN, "exploration": {"kind": "thompson"}})


@pytest.mark.parametrize("learner", members(AnyLearner), ids=lambda config: config.__name__)
@pytest.mark.parametrize("exploration", members(AnyExploration), ids=lambda c: c.__name__)
def test_every_exploration_fits_a_learner_that_has_what_it_needs(
    learner: Any, exploration: Any
) -> None:
    data = {
        **_LINEAR,
        "policy_learner": {"kind": learner().kind},
        "exploration": {"kind": exploration().kind},
        "replay": _memory_of(learner),
    }
    if "box" in learner.capabilities:
        box = {"kind": "box", "low": [0], "high": [1]}
        data |= {"actions": box, "action_representation": {"kind": "identity"}}
    if "arms" in learner.capabilities:
        data |= {"action_representation": {"kind": "position"}}
    serves = bool(exploration().serves & learner.capabilities)

    tries = "on_policy" not in learner.capabilities or exploration is not NoExplorationConfig

    if exploration().needs <= learner.capabilities and serves and tries:
        assert parse_agent_config(data).exploration == exploration()
    else:
        assert set(_problems(data)) == {"exploration"}


def _memory_of(learner: Any) -> dict[str, str] | None:
    if "on_policy" in learner.capabilities:
        return {"kind": "episodic"}
    return {"kind": "fifo"} if "replay" in learner.capabilities else None
