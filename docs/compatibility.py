"""Writes docs/compatibility.md: which modules of an agent work together.

    python -m docs.compatibility

Everything in it comes from what the configs say of themselves: `capabilities`, `needs` and `serves`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent_core.interfaces import SafetyConfig
from agent_core.registry import (
    AnyExploration,
    AnyHistory,
    AnyLearner,
    AnyReplay,
    AnyRepresentation,
    AnySafety,
    members,
)

PAGE = Path(__file__).with_name("compatibility.md")

_INTRODUCTION = """\
# What works with what

Written by `python -m docs.compatibility` from the capabilities that every learner declares and the needs
that every other module declares. The configuration check refuses everything else, and says what to use
instead. `warm_up` and `stack` hold other modules, and need what those need.
"""


def fits_exploration(learner: Any, exploration: Any) -> bool:
    """Whether it can explore the actions of this learner with what the learner knows."""
    # Whoever learns from its own play only must try something.
    tries = "on_policy" not in learner.capabilities or _kind(exploration) != "none"
    return fits(learner, exploration) and tries and bool(exploration.serves & learner.capabilities)


def fits_representation(learner: Any, representation: Any) -> bool:
    """Whether the learner can read such actions; continuous ones have no ids, so they stay as they are."""
    capabilities, needs = learner.capabilities, representation.needs
    if "sets" not in capabilities:
        return _kind(representation) == "identity"
    # Where each id has a model of its own, no other module may hide the ids.
    return fits(learner, representation) and bool(("arms" in capabilities) == ("arms" in needs))


def fits_safety(learner: Any, safety: Any) -> bool:
    """Whether it has what it needs; what only removes actions needs sets to remove them from."""
    only_filters = safety.build is not SafetyConfig.build and not _holds_others(safety)
    return fits(learner, safety) and not (only_filters and "sets" not in learner.capabilities)


def fits(learner: Any, module: Any) -> bool:
    """Whether the learner has all that the module needs."""
    needs: frozenset[str] = module.needs
    return bool(needs <= learner.capabilities)


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            _INTRODUCTION,
            _learners(),
            _matrix("Exploration", members(AnyExploration), fits_exploration),
            _matrix("Action representation", members(AnyRepresentation), fits_representation),
            _matrix("History", members(AnyHistory), fits),
            _matrix("Safety", members(AnySafety), fits_safety),
            _matrix("Replay", members(AnyReplay), fits),
        ]
    )


def _learners() -> str:
    rows = [
        [f"`{_kind(learner)}`", _actions(learner), _memory(learner), _others(learner)]
        for learner in members(AnyLearner)
    ]
    titles = ["Learner", "Actions", "Learns from", "Capabilities"]
    return f"## Learners\n\n{_table(titles, rows)}"


def _actions(learner: Any) -> str:
    names = {"sets": "sets", "box": "continuous"}
    return ", ".join(name for key, name in names.items() if key in learner.capabilities)


def _memory(learner: Any) -> str:
    sources = {
        "observes": "every transition once",
        "replay": "replayed batches",
        "on_policy": "whole episodes",
    }
    return ", ".join(text for key, text in sources.items() if key in learner.capabilities)


def _others(learner: Any) -> str:
    shown = {"sets", "box", "observes", "replay", "on_policy"}
    return ", ".join(f"`{name}`" for name in sorted(learner.capabilities - shown))


def _matrix(title: str, modules: Sequence[Any], check: Callable[[Any, Any], bool]) -> str:
    rows = [
        [f"`{_kind(learner)}`", *("✓" if check(learner, module) else "" for module in modules)]
        for learner in members(AnyLearner)
    ]
    titles = ["Learner", *(f"`{_kind(module)}`" for module in modules)]
    return f"## {title}\n\n{_table(titles, rows)}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _kind(config: Any) -> str:
    kind: str = config.model_fields["kind"].default
    return kind


def _holds_others(safety: Any) -> bool:
    return "parts" in safety.model_fields


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
