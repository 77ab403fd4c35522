"""Asking for decisions: what goes over the wire, and what comes back."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacre_client import (
    Action,
    Assignment,
    ChosenAction,
    Client,
    Decision,
    InputError,
    ProblemItem,
    RankedAction,
)

from tests.clients.harness import Sdk, Wire, answer, decision_body, problem_body

ACTIONS = ["news", "sport"]


@pytest.fixture
def wire() -> Wire:
    return Wire(answer(body=decision_body()))


async def test_a_decision_carries_everything_the_service_said(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    decision = await sdk.call(client.act, [1.0], ACTIONS)

    assert decision == Decision(
        decision_id="d-1",
        policy="digits",
        action=ChosenAction("sport", 1),
        propensity=0.83,
        reason="policy",
        model_version="digits@42",
        config_hash="c1f0",
        feature_schema="fs:9a",
        ranking=(RankedAction("sport", 0.83, 0.41), RankedAction("news", 0.17, None)),
        reasons_detail={"explored": False},
        assignment=Assignment("canary", 0.05, 0.9),
        mode="online",
        activated=True,
        reward_deadline=datetime(2026, 11, 20, 21, tzinfo=UTC),
    )


async def test_a_newer_service_may_say_more(sdk: Sdk) -> None:
    body = decision_body(
        mood="good",
        reason="a_new_reason",
        action={"id": "sport", "index": 1, "colour": "red"},
        ranking=[{"id": "sport", "probability": 1.0, "score": 0.1, "rank": 1}],
    )
    client = sdk.connect(Wire(answer(body=body)))

    decision = await sdk.call(client.act, [1.0], ACTIONS)

    assert (decision.reason, decision.action) == ("a_new_reason", ChosenAction("sport", 1))


async def test_an_older_service_may_say_less(sdk: Sdk) -> None:
    body = {
        "decision_id": "d",
        "policy": "p",
        "action": {"id": "sport", "index": 1},
        "propensity": 1.0,
        "reason": "baseline",
    }
    client = sdk.connect(Wire(answer(body=body)))

    decision = await sdk.call(client.act, [1.0], ACTIONS)

    assert (decision.ranking, decision.assignment, decision.reward_deadline) == ((), None, None)


async def test_a_stored_decision_says_that_it_is_a_replay(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(body=decision_body(), idempotency_replayed="true")))

    decision = await sdk.call(client.act, [1.0], ACTIONS)

    assert decision.is_replayed
    assert not decision.is_local


@pytest.mark.parametrize(
    ("observation", "sent"),
    [
        ([0.5, -1.0], {"vector": [0.5, -1.0]}),
        ((1, 2), {"vector": [1, 2]}),
        (np.array([0.5, 0.25], dtype=np.float32), {"vector": [0.5, 0.25]}),
        ({"user": {"age": 31}}, {"features": {"user": {"age": 31}}}),
        ({"vector": [1.0]}, {"features": {"vector": [1.0]}}),
        (MappingProxyType({"n": np.float32(0.5)}), {"features": {"n": 0.5}}),
    ],
)
async def test_an_observation_is_a_vector_or_named_features(
    sdk: Sdk, wire: Wire, observation: Any, sent: Any
) -> None:
    client = sdk.connect(wire)

    await sdk.call(client.act, observation, ACTIONS)

    assert wire.bodies[0]["observation"] == sent


@pytest.mark.parametrize(
    ("actions", "sent"),
    [
        (["a", "b"], ["a", "b"]),
        (("a",), ["a"]),
        (np.array(["a", "b"]), ["a", "b"]),
        ([{"id": "a", "vector": [1.0]}], [{"id": "a", "vector": [1.0]}]),
        (
            [Action("a", vector=np.array([0.5])), Action("b", features={"n": 1})],
            [{"id": "a", "vector": [0.5]}, {"id": "b", "features": {"n": 1}}],
        ),
        ([Action("a"), "b"], [{"id": "a"}, "b"]),
    ],
)
async def test_actions_are_ids_or_described_actions(
    sdk: Sdk, wire: Wire, actions: Any, sent: Any
) -> None:
    client = sdk.connect(wire)

    await sdk.call(client.act, [1.0], actions)

    assert wire.bodies[0]["actions"] == sent


async def test_every_option_has_its_place_in_the_body(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    await sdk.call(
        client.act,
        observation=[1.0],
        actions=ACTIONS,
        policy="digits",
        decision_id="mine",
        subject="user-1",
        excluded_actions=("news",),
        baseline_action="sport",
        episode={"episode_id": "e", "step": 0},
        defer_activation=True,
        mode="shadow",
        explore=False,
        metadata={"page": "home"},
    )

    assert wire.bodies == [
        {
            "policy": "digits",
            "decision_id": "mine",
            "subject": "user-1",
            "observation": {"vector": [1.0]},
            "actions": ["news", "sport"],
            "excluded_actions": ["news"],
            "baseline_action": "sport",
            "episode": {"episode_id": "e", "step": 0},
            "defer_activation": True,
            "mode": "shadow",
            "explore": False,
            "metadata": {"page": "home"},
        }
    ]


async def test_what_is_not_said_stays_off_the_wire(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    await sdk.call(client.act, [1.0], ACTIONS, subject=None, policy=None)

    assert wire.bodies[0].keys() == {"observation", "actions", "decision_id"}


async def test_the_service_gets_four_fifths_of_the_deadline(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    await sdk.call(client.act, [1.0], ACTIONS, deadline_ms=50)

    # 50 ms x 0.8 = 40 ms, so that its own fallback can arrive before this client gives up.
    assert wire.bodies[0]["deadline_ms"] == 40


async def test_a_deadline_of_zero_is_refused(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    with pytest.raises(InputError, match="deadline_ms is 0; expected more than 0"):
        await sdk.call(client.act, [1.0], ACTIONS, deadline_ms=0)


async def test_a_misspelt_option_is_a_type_error(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    with pytest.raises(TypeError, match="subjct"):
        await sdk.call(client.act, [1.0], ACTIONS, subjct="user-1")


async def test_the_clients_policy_is_used_unless_the_call_names_another(
    sdk: Sdk, wire: Wire
) -> None:
    client = sdk.connect(wire, policy="usual")

    await sdk.call(client.act, [1.0], ACTIONS)
    await sdk.call(client.act, [1.0], ACTIONS, policy="other")

    assert [body["policy"] for body in wire.bodies] == ["usual", "other"]


@pytest.mark.parametrize(
    ("observation", "actions", "message"),
    [
        ("text", ACTIONS, "observation is of type str; expected a mapping or a list of floats"),
        (7, ACTIONS, "observation is of type int"),
        ([1.0], "news", "actions is of type str; expected a list of ids, mappings or Action"),
        ([1.0], {"id": "a"}, "actions is of type dict"),
        ([1.0], ["a", 3], r"actions\[1\] is of type int; expected an id, a mapping or an Action"),
    ],
)
async def test_a_wrong_input_is_refused_before_it_is_sent(
    sdk: Sdk, wire: Wire, observation: Any, actions: Any, message: str
) -> None:
    client = sdk.connect(wire)

    with pytest.raises(InputError, match=message):
        await sdk.call(client.act, observation, actions)

    assert wire.requests == []


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ([1.0, float("nan")], "/observation/vector/1 is nan; expected a finite number"),
        (np.array([np.inf]), "/observation/vector/0 is inf"),
        ({"user": {"age": float("-inf")}}, "/observation/features/user/age is -inf"),
        ({"v": np.array([0.0, np.nan])}, "/observation/features/v/1 is nan"),
        ({"when": datetime(2026, 1, 1, tzinfo=UTC)}, "/observation/features/when is of type dat"),
    ],
)
async def test_a_value_without_json_form_is_named_by_its_place(
    sdk: Sdk, wire: Wire, observation: Any, message: str
) -> None:
    client = sdk.connect(wire)

    with pytest.raises(InputError, match=message):
        await sdk.call(client.act, observation, ACTIONS)


async def test_features_that_contain_themselves_are_refused(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)
    endless: dict[str, Any] = {}
    endless["again"] = endless

    with pytest.raises(InputError, match="nested deeper than 64 levels"):
        await sdk.call(client.act, endless, ACTIONS)


@given(vector=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_every_finite_vector_arrives_unchanged(vector: list[float]) -> None:
    wire = Wire(answer(body=decision_body()))

    with Client(transport=httpx.MockTransport(wire)) as client:
        client.act(vector, ACTIONS)

    assert wire.bodies[0]["observation"]["vector"] == vector


async def test_a_batch_answers_each_item_with_a_decision_or_its_problem(sdk: Sdk) -> None:
    problem = problem_body(422, "ActionSetEmpty", detail="2 actions given, 2 excluded")
    responses = [
        {"status": 200, **decision_body(decision_id="a")},
        {"status": 422, "problem": problem},
    ]
    client = sdk.connect(Wire(answer(body={"responses": responses})))

    first, second = await sdk.call(
        client.act_batch,
        [{"observation": [1.0], "actions": ACTIONS}, {"observation": [2.0], "actions": []}],
    )

    assert first.decision_id == "a"
    assert isinstance(second, ProblemItem)
    assert (second.status, second.code) == (422, "ActionSetEmpty")
    assert second.detail == "2 actions given, 2 excluded"


async def test_a_batch_shares_its_defaults_and_numbers_its_items(sdk: Sdk) -> None:
    wire = Wire(answer(body={"responses": [{"status": 200, **decision_body()}] * 2}))
    client = sdk.connect(wire, policy="digits")

    await sdk.call(
        client.act_batch,
        [{"observation": [1.0], "decision_id": "mine"}, {"observation": {"n": 1}}],
        {"actions": ACTIONS, "explore": False},
    )

    (body,) = wire.bodies
    generated = body["requests"][1].pop("decision_id")
    assert len(generated) == 32
    assert body == {
        "requests": [
            {"observation": {"vector": [1.0]}, "decision_id": "mine", "policy": "digits"},
            {"observation": {"features": {"n": 1}}, "policy": "digits"},
        ],
        "defaults": {"actions": ["news", "sport"], "explore": False},
    }


async def test_the_defaults_of_a_batch_may_name_the_policy(sdk: Sdk) -> None:
    wire = Wire(answer(body={"responses": [{"status": 200, **decision_body()}]}))
    client = sdk.connect(wire, policy="usual")
    requests = [{"observation": [1.0], "actions": ACTIONS}]

    await sdk.call(client.act_batch, requests, {"policy": "other"})

    assert wire.bodies[0]["defaults"] == {"policy": "other"}
    assert "policy" not in wire.bodies[0]["requests"][0]


async def test_the_items_of_a_batch_are_not_changed(sdk: Sdk) -> None:
    wire = Wire(answer(body={"responses": [{"status": 200, **decision_body()}]}))
    client = sdk.connect(wire, policy="digits")
    item = {"observation": [1.0], "actions": ACTIONS}

    await sdk.call(client.act_batch, [item])

    assert item == {"observation": [1.0], "actions": ["news", "sport"]}


async def test_shadow_tells_what_the_policy_thinks_of_another_choice(sdk: Sdk) -> None:
    shadow = {
        "model_version": "digits@43",
        "action_id": "news",
        "probability_of_logged_action": 0.31,
        "agrees": False,
    }
    ranking = [{"id": "news", "probability": 0.69, "score": 0.1}]
    wire = Wire(answer(202, {"decision_id": "s-1", "shadow": shadow, "ranking": ranking}))
    client = sdk.connect(wire, policy="digits")

    result = await sdk.call(
        client.shadow,
        [1.0],
        ACTIONS,
        "sport",
        behavior_policy="legacy@7",
        propensity=0.5,
        decision_id="s-1",
    )

    assert (result.decision_id, result.action_id, result.agrees) == ("s-1", "news", False)
    assert result.probability_of_logged_action == 0.31
    assert result.ranking == (RankedAction("news", 0.69, 0.1),)
    assert wire.targets == ["POST /v1/shadow"]
    assert wire.bodies == [
        {
            "policy": "digits",
            "decision_id": "s-1",
            "observation": {"vector": [1.0]},
            "actions": ["news", "sport"],
            "action_id": "sport",
            "propensity": 0.5,
            "behavior_policy": "legacy@7",
        }
    ]


# -- continuous actions -----------------------------------------------------------------------------


def box_body(**changes: Any) -> dict[str, Any]:
    """What the service answers where actions are continuous: no id and no ranking."""
    whole = decision_body(action={"value": [0.25, -1.5]}, propensity=3.5, **changes)
    return {name: value for name, value in whole.items() if name != "ranking"}


async def test_without_actions_the_answer_is_a_vector(sdk: Sdk) -> None:
    wire = Wire(answer(body=box_body()))
    client = sdk.connect(wire)

    decision = await sdk.call(client.act, [1.0])

    assert "actions" not in wire.bodies[0]
    assert decision.action.value == (0.25, -1.5)
    assert (decision.action.id, decision.action.index) == ("", -1)
    assert (decision.propensity, decision.ranking) == (3.5, ())


async def test_a_vector_that_was_not_drawn_has_an_infinite_density(sdk: Sdk) -> None:
    arm = {"arm": "live", "arm_probability": 1.0, "arm_propensity": None}
    client = sdk.connect(Wire(answer(body=box_body() | {"propensity": None, "assignment": arm})))

    decision = await sdk.call(client.act, [1.0])

    assert decision.propensity == math.inf
    assert decision.assignment.arm_propensity == math.inf


async def test_the_expected_box_and_a_safe_vector_are_sent(sdk: Sdk) -> None:
    wire = Wire(answer(body=box_body()))
    client = sdk.connect(wire)
    space = {"type": "box", "low": [0.0], "high": [1.0]}

    await sdk.call(client.act, [1.0], action_space=space, baseline_action=np.array([0.5]))

    assert wire.bodies[0]["action_space"] == space
    assert wire.bodies[0]["baseline_action"] == [0.5]


async def test_a_safe_action_that_is_neither_an_id_nor_a_vector_is_refused(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(body=box_body())))

    with pytest.raises(InputError, match="baseline_action is of type dict"):
        await sdk.call(client.act, [1.0], baseline_action={"id": "a"})
