"""The page on what works with what is up to date, and the configuration check agrees with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError
from agent_core.registry import (
    AnyExploration,
    AnyHistory,
    AnyLearner,
    AnyReplay,
    AnyRepresentation,
    AnySafety,
    members,
)
from docs.compatibility import (
    PAGE,
    fits,
    fits_exploration,
    fits_representation,
    fits_safety,
    page,
)

# Slot, what may stand in it, and whether a learner can have it.
_SLOTS: list[tuple[str, Any, Callable[[Any, Any], bool]]] = [
    ("exploration", AnyExploration, fits_exploration),
    ("action_representation", AnyRepresentation, fits_representation),
    ("history", AnyHistory, fits),
    ("safety", AnySafety, fits_safety),
]
_FIELDS: dict[str, dict[str, Any]] = {
    "one_hot": {"ids": ["a"]},
    "binary": {"ids": ["a"]},
    "stack": {"parts": [{"kind": "none"}]},
}


def test_the_page_is_what_the_modules_say_of_themselves() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m docs.compatibility"


@pytest.mark.parametrize("learner", members(AnyLearner), ids=lambda c: str(_kind(c)))
def test_the_configuration_check_agrees_with_the_page(learner: Any) -> None:
    for slot, union, check in _SLOTS:
        for module in members(union):
            if (chosen := _written(module, learner)) is not None:
                refused = slot in _problems({**_agent(learner), slot: chosen})
                assert refused != check(learner, module), (slot, chosen)


def _agent(learner: Any) -> dict[str, Any]:
    """An agent around the learner, whose other parts work with it."""
    box = {"kind": "box", "low": [0], "high": [1]}
    agent = {
        "observation": {"kind": "vector", "dim": 2},
        "actions": {"kind": "vector", "dim": 1} if "sets" in learner.capabilities else box,
        "policy_learner": {"kind": _kind(learner)},
    }
    for slot, union, check in _SLOTS:
        agent[slot] = next(
            written
            for module in members(union)
            if check(learner, module) and (written := _written(module, learner)) is not None
        )
    if learner.capabilities & {"replay", "on_policy"}:
        agent["replay"] = {"kind": next(_kind(m) for m in members(AnyReplay) if fits(learner, m))}
    return agent


def _written(module: Any, learner: Any) -> dict[str, Any] | None:
    """The module in a policy file; None for one that has no defaults to stand on."""
    written = {"kind": _kind(module), **_FIELDS.get(_kind(module), {})}
    if _kind(module) == "warm_up" and "box" in learner.capabilities:
        written["then"] = {"kind": "gaussian"}
    try:
        module.model_validate(written)
    except ValidationError:
        return None
    return written


def _problems(agent: dict[str, Any]) -> set[str]:
    try:
        parse_agent_config(agent)
    except ConfigError as error:
        return {problem.path for problem in error.problems}
    return set()


def _kind(config: Any) -> str:
    kind: str = config.model_fields["kind"].default
    return kind
