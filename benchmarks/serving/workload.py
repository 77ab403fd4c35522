"""The requests: the same bytes for every server that understands them, and the policies behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from agent_core.types import Floats
from benchmarks.serving.load import Shot

DIM: Final = 16
SMALL, LARGE = "small", "large"
CATALOGS: Final = {SMALL: 100, LARGE: 1000}
"""Policy -> how many actions its catalog has."""
_SHOWN: Final = {SMALL: 10, LARGE: 500}
_VARIANTS: Final = 32
_CHOSEN: Final = b'"action":{"id":"'
_STATE: Final = b'"state":"'


@dataclass(frozen=True, slots=True)
class Question:
    """One decision to make: what was seen, and which actions are available, by name and by vector."""

    observation: Floats
    ids: list[str]
    vectors: Floats


def catalog(policy: str) -> dict[str, list[float]]:
    """Action id -> 16 features, the same in every process."""
    table = _rounded(np.random.default_rng(1), (CATALOGS[policy], DIM))
    return {f"a{at}": row for at, row in enumerate(table.tolist())}


def questions(policy: str) -> list[Question]:
    """Different questions about random parts of the catalog; asked in turn."""
    generator = np.random.default_rng(2)
    known = catalog(policy)
    return [_question(generator, known, _SHOWN[policy]) for _ in range(_VARIANTS)]


def _question(
    generator: np.random.Generator, known: Mapping[str, list[float]], count: int
) -> Question:
    ids = generator.permutation(list(known))[:count].tolist()
    vectors = np.array([known[action_id] for action_id in ids], np.float32)
    return Question(np.array(_rounded(generator, DIM), np.float32), ids, vectors)


def _rounded(generator: np.random.Generator, shape: int | tuple[int, int]) -> Any:
    return generator.standard_normal(shape).round(4)


def policy_file(policy: str) -> dict[str, Any]:
    """A bandit with a 64 x 64 network: the same arithmetic as the peers' MLP. Nothing learns here."""
    return {
        "policy": policy,
        "agent": {
            "observation": {"kind": "vector", "dim": DIM},
            "actions": {"kind": "vector", "dim": DIM},
            "max_actions": CATALOGS[policy],
            "policy_learner": {"kind": "neural_linear", "hidden": [64, 64]},
            "exploration": {"kind": "epsilon_greedy", "epsilon": 0.1},
            "action_representation": {"kind": "identity"},
            "replay": {"kind": "fifo"},
        },
        "learning": {"continuous": False},
    }


# -- the forms of one question ------------------------------------------------------------------


def by_ids(policy: str, question: Question, **more: Any) -> dict[str, Any]:
    """Actions by their names in the server's catalog."""
    vector = {"vector": _plain(question.observation)}
    return {"policy": policy, "observation": vector, "actions": question.ids, **more}


def by_nested_json(policy: str, question: Question) -> dict[str, Any]:
    """Actions as objects that bring their own features."""
    rows = zip(question.ids, _plain(question.vectors), strict=True)
    actions = [{"id": action_id, "vector": row} for action_id, row in rows]
    return by_ids(policy, question) | {"actions": actions}


def by_blocks(policy: str, question: Question) -> dict[str, Any]:
    """Actions as one table of float32 bytes; for msgpack."""
    table = {"ids": question.ids, "vectors": question.vectors.astype("<f4").tobytes()}
    vector = {"vector": question.observation.astype("<f4").tobytes()}
    return {"policy": policy, "observation": vector, "actions": table}


def _plain(numbers: Floats) -> Any:
    """Four decimals, as a client would write them; not the 17 digits that a float32 has as a double."""
    return numbers.astype(np.float64).round(4).tolist()


# -- as bytes -----------------------------------------------------------------------------------


def json_shots(
    path: str, bodies: Sequence[Mapping[str, Any]], of: Sequence[Question]
) -> list[Shot]:
    """One JSON request per question; the answer must name one of its actions."""
    pairs = zip(bodies, of, strict=True)
    return [_act_shot(path, "json", msgspec.json.encode(body), one) for body, one in pairs]


def msgpack_shots(
    path: str, bodies: Sequence[Mapping[str, Any]], of: Sequence[Question]
) -> list[Shot]:
    """The same as msgpack."""
    pairs = zip(bodies, of, strict=True)
    return [_act_shot(path, "msgpack", msgspec.msgpack.encode(body), one) for body, one in pairs]


def reward_shots(policy: str, decision_ids: Sequence[str]) -> list[Shot]:
    """One reward for each decision; every one of them must count."""
    return [
        Shot(
            _http("/v1/observe", "json", msgspec.json.encode(body)), _STATE, frozenset({b"joined"})
        )
        for body in (
            {"policy": policy, "decision_id": decision_id, "reward": 1.0}
            for decision_id in decision_ids
        )
    ]


def _act_shot(path: str, media: str, body: bytes, question: Question) -> Shot:
    accepted = frozenset(action_id.encode() for action_id in question.ids)
    return Shot(_http(path, media, body), _CHOSEN, accepted)


def _http(path: str, media: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/{media}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
