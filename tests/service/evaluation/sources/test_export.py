"""A log that is written and read again is the same log."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.types import ActionSet
from service.clock import parse_ms, rfc3339
from service.decisions.repository import EpisodePlace
from service.evaluation.errors import EvaluationError
from service.evaluation.export import write_dsjson, write_jsonl
from service.evaluation.sources.lines import open_dsjson, open_jsonl
from service.evaluation.steps import LoggedStep
from service.policies.catalog import CatalogDocument
from service.policies.config import parse_policy
from service.policies.encoding import Encoding, set_of_one
from tests.support.policies import featured

STATE, FEATURES = 3, 2
_numbers = st.floats(-1e6, 1e6, width=32)
_amounts = st.floats(-1e12, 1e12)
_names = st.text(min_size=1, max_size=6)
_times = st.integers(0, 4_000_000_000_000).filter(lambda ms: parse_ms(rfc3339(ms)) == ms)


@st.composite
def steps(draw: st.DrawFn) -> LoggedStep:
    """A decision on a set, with everything that a log may say of it."""
    ids = tuple(draw(st.lists(_names, min_size=1, max_size=4, unique=True)))
    count, action = len(ids), draw(st.integers(0, len(ids) - 1))
    parts = draw(hnp.arrays(np.float64, count, elements=st.floats(0.01, 1)))
    allowed = draw(hnp.arrays(np.bool_, count)) | (np.arange(count) == action)
    behaviour = np.where(allowed, parts, 0) / parts[allowed].sum()
    is_known = draw(st.booleans())
    return LoggedStep(
        row="",
        decision_id=draw(_names),
        at_ms=draw(_times),
        state=draw(hnp.arrays(np.float32, STATE, elements=_numbers)),
        actions=ActionSet(ids, draw(hnp.arrays(np.float32, (count, FEATURES), elements=_numbers))),
        action=action,
        propensity=float(behaviour[action]),
        reward=draw(_amounts),
        cost=draw(_amounts),
        allowed=None if allowed.all() else allowed,
        behaviour=behaviour if is_known else None,
        components=draw(st.dictionaries(_names, _amounts, max_size=2)),
        place=draw(st.none() | st.builds(EpisodePlace, _names, st.integers(0, 9))),
        is_terminated=draw(st.booleans()),
        model_version=draw(st.text(max_size=4)),
        target=behaviour if draw(st.booleans()) else None,
    )


def same(one: Any, other: Any) -> bool:
    if isinstance(one, ActionSet):
        return one.ids == other.ids and same(one.features, other.features)
    if isinstance(one, np.ndarray):
        return other is not None and one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other)


def differences(one: LoggedStep, other: LoggedStep) -> dict[str, tuple[Any, Any]]:
    """Fields that are not the same, but for the place in the log."""
    pairs = {f.name: (getattr(one, f.name), getattr(other, f.name)) for f in fields(LoggedStep)}
    return {name: pair for name, pair in pairs.items() if name != "row" and not same(*pair)}


def step(name: str = "d1", **change: Any) -> LoggedStep:
    about: dict[str, Any] = {
        "row": f"event {name}",
        "decision_id": name,
        "at_ms": 1_700_000_000_123,
        "state": np.array([0.1, 2.0], np.float32),
        "actions": ActionSet(("a", "b", "c"), np.array([[1.0], [2.0], [0.3]], np.float32)),
        "action": 2,
        "propensity": 0.25,
        "reward": 1.5,
    }
    return LoggedStep(**about | change)


@given(st.lists(steps(), max_size=4, unique_by=lambda one: one.decision_id), st.booleans())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_jsonl_keeps_every_bit(tmp_path: Path, written: list[LoggedStep], packed: bool) -> None:
    path = tmp_path / ("log.jsonl.gz" if packed else "log.jsonl")

    count = write_jsonl(written, path)
    source = open_jsonl(path)
    read = list(source)

    assert source.refused == []
    assert count == len(read) == len(written)
    assert [differences(*pair) for pair in zip(written, read, strict=True)] == [{}] * count


def test_a_continuous_action_comes_back_from_jsonl(tmp_path: Path) -> None:
    before = step(actions=set_of_one(np.array([0.1, 2.0], np.float32)), action=0, propensity=7.5)

    write_jsonl([before], tmp_path / "log.jsonl")
    [after] = open_jsonl(tmp_path / "log.jsonl")

    assert differences(before, after) == {}


@given(steps())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_dsjson_keeps_what_vowpal_wabbit_knows(tmp_path: Path, before: LoggedStep) -> None:
    """Actions that were not allowed are gone; costs, components and episodes have no place."""
    path = tmp_path / "log.dsjson"

    write_dsjson([before], path)
    source = open_dsjson(path)
    [after] = source

    kept = np.ones(len(before.actions), bool) if before.allowed is None else before.allowed
    lost = {"cost", "components", "place", "is_terminated", "target", "allowed"}
    assert after.actions.ids == tuple(np.array(before.actions.ids, object)[kept])
    assert np.array_equal(after.actions.features, before.actions.features[kept])
    assert after.actions.ids[after.action] == before.actions.ids[before.action]
    if before.behaviour is not None:
        assert after.behaviour is not None
        assert np.allclose(after.behaviour, before.behaviour[kept], atol=1e-12)
    assert differences(before, after).keys() - lost <= {"actions", "action", "behaviour"}


@pytest.mark.parametrize("name", ["log.jsonl", "log.dsjson"])
def test_a_policy_does_not_encode_again_what_was_exported(tmp_path: Path, name: str) -> None:
    """Its features have names, and the file has the numbers that they became."""
    policy = Encoding(parse_policy(featured()).agent, CatalogDocument(0, {}))
    write, read = {".jsonl": (write_jsonl, open_jsonl), ".dsjson": (write_dsjson, open_dsjson)}[
        Path(name).suffix
    ]
    before = step(behaviour=np.array([0.5, 0.25, 0.25]))

    write([before], tmp_path / name)
    source = read(tmp_path / name, policy)

    assert [differences(before, after) for after in source] == [{}]
    assert source.refused == []


def test_a_state_without_numbers_comes_back_from_dsjson(tmp_path: Path) -> None:
    before = step(
        state=np.zeros(0, np.float32),
        actions=ActionSet(("a", "b", "c"), np.zeros((3, 0), np.float32)),
    )

    write_dsjson([before], tmp_path / "log.dsjson")
    [after] = open_dsjson(tmp_path / "log.dsjson")

    assert differences(before, after) == {}


def test_a_line_for_vowpal_wabbit_puts_the_action_taken_first(tmp_path: Path) -> None:
    behaviour = np.array([0.5, 0.25, 0.25])

    write_dsjson([step(behaviour=behaviour, model_version="m@1")], tmp_path / "log.dsjson")

    assert msgspec.json.decode((tmp_path / "log.dsjson").read_bytes()) == {
        "_label_cost": -1.5,
        "_label_probability": 0.25,
        "_label_Action": 3,
        "_labelIndex": 2,
        "Timestamp": "2023-11-14T22:13:20.123Z",
        "Version": "1",
        "EventId": "d1",
        "a": [3, 1, 2],
        "c": {
            "Observation": [pytest.approx(0.1), 2.0],
            "_multi": [
                {"_tag": "a", "Action": [1.0]},
                {"_tag": "b", "Action": [2.0]},
                {"_tag": "c", "Action": [pytest.approx(0.3)]},
            ],
        },
        "p": [0.25, 0.5, 0.25],
        "VWState": {"m": "m@1"},
        "_encoded": True,
    }


def test_a_continuous_action_has_no_place_in_dsjson(tmp_path: Path) -> None:
    path = tmp_path / "log.dsjson"
    steering = step("d2", actions=set_of_one(np.array([0.1], np.float32)), action=0)

    with pytest.raises(EvaluationError, match=r"event d2: a continuous action .* export JSONL"):
        write_dsjson([step(), steering], path)

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("before")

    def interrupted() -> Iterator[LoggedStep]:
        yield step()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(interrupted(), path)

    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["log.jsonl"]


def test_equal_logs_are_equal_files(tmp_path: Path) -> None:
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_jsonl([step()], tmp_path / name)

    one, two = ((tmp_path / name).read_bytes() for name in ("one.jsonl.gz", "two.jsonl.gz"))
    assert one == two
    assert gzip.decompress(one).count(b"\n") == 1
