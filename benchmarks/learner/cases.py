"""What is measured, in the order of the tables, and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from benchmarks.learner import ours, ragged
from benchmarks.learner.bare import actors, box, values
from benchmarks.learner.contestant import Contestant
from benchmarks.learner.peers.stable_baselines import stable_baselines
from benchmarks.learner.peers.tianshou import tianshou
from benchmarks.learner.peers.torchrl import torchrl
from benchmarks.learner.task import Task

OURS: Final = "nacre"
_BARE: Final = "bare PyTorch"
_SB3: Final = "stable-baselines3"
_PADDED: Final = "padded"


class Case(NamedTuple):
    """One table. `contestants`: how each is built; the one whose time all others are held against is `OURS`.
    `note`: where the work is not quite the same."""

    title: str
    contestants: Mapping[str, Callable[[], Contestant]]
    note: str = ""
    is_quick: bool = True


class Goal(NamedTuple):
    """How many times the time of `OURS` that of `rival` should be at least."""

    case: str
    rival: str
    bound: float


GOALS: Final = {
    "dqn64_over_sb3": Goal("dqn64", _SB3, 12.0),
    "dqn120_over_sb3": Goal("dqn120", _SB3, 4.0),
    "ppo_over_sb3": Goal("ppo", _SB3, 7.0),
    "sac_over_sb3": Goal("sac", _SB3, 2.5),
    "td3_over_sb3": Goal("td3", _SB3, 2.5),
    "ragged_train_over_padded": Goal("ragged_train", _PADDED, 5.0),
    "ragged_infer_over_padded": Goal("ragged_infer", _PADDED, 5.0),
    "qr_dqn_over_bare": Goal("qr_dqn", _BARE, 3.0),
    "cql_over_bare": Goal("cql", _BARE, 3.0),
    "discrete_sac_over_bare": Goal("discrete_sac", _BARE, 3.0),
    "discrete_iql_over_bare": Goal("discrete_iql", _BARE, 3.0),
    "neural_linear_over_bare": Goal("neural_linear", _BARE, 3.0),
}

_LOOPS: Final[dict[str, Callable[[Task], Callable[[], None]]]] = {
    "dqn": values.Dqn,
    "qr_dqn": values.QrDqn,
    "cql": values.Cql,
    "neural_linear": values.NeuralLinear,
    "ppo": actors.Ppo,
    "discrete_sac": actors.DiscreteSac,
    "discrete_iql": actors.DiscreteIql,
    "sac": box.Sac,
    "td3": box.Td3,
}
_PEERS: Final[dict[str, Callable[[Task], Contestant]]] = {
    _SB3: stable_baselines,
    "tianshou": tianshou,
    "torchrl": torchrl,
}


def _bare(task: Task) -> Contestant:
    updates = task.size // task.batch_size if task.kind == "ppo" else 1
    return Contestant(_LOOPS[task.kind](task), updates)


def _against_peers(title: str, task: Task, note: str, peers: Sequence[str] = tuple(_PEERS)) -> Case:
    known = _OWN | {name: _PEERS[name] for name in peers}
    return Case(title, {name: partial(build, task) for name, build in known.items()}, note)


def _rounded(title: str, task: Task) -> Case:
    built: dict[str, Callable[[], Contestant]] = {
        OURS: partial(ours.tuned, task, "bf16"),
        f"{OURS}, full precision": partial(ours.tuned, task),
        _SB3: partial(stable_baselines, task),
    }
    return Case(title, built, _ROUNDED_NOTE, is_quick=False)


def _against_bare(title: str, kind: str, note: str = "") -> Case:
    task = Task(kind, (64, 64), 64, 8, 4)
    built = {name: partial(build, task) for name, build in _OWN.items()}
    return Case(title, built, note, is_quick=False)


def _ragged(title: str, *, is_training: bool) -> Case:
    forms = {OURS: ragged.flat, _PADDED: ragged.padded}
    built = {name: partial(form, is_training=is_training) for name, form in forms.items()}
    return Case(title, built, _RAGGED_NOTE)


_OWN: Final[dict[str, Callable[[Task], Contestant]]] = {
    OURS: ours.tuned,
    f"{OURS}, not tuned": ours.plain,
    _BARE: _bare,
}
_DQN_NOTE: Final = (
    "stable-baselines3 moves its target network outside of `train`, which is not counted, and tianshou copies its"
    " own every 100 updates; all others mix theirs in every update. Neither tianshou nor torchrl bounds the gradient."
)
_PPO_NOTE: Final = (
    "An epoch of 32 minibatches over 2048 steps. Ours computes the advantages too, the others are given them."
    " stable-baselines3 stops after every minibatch for the numbers that it logs."
)
_BOX_NOTE: Final = "No peer bounds the gradient; ours and the bare loop do."
_ROUNDED_NOTE: Final = (
    "Asked for by `precision: bf16`: the factors of matrix products are rounded to 8 bits where the processor is"
    " faster so."
)
_RAGGED_NOTE: Final = (
    "256 sets of 2 to 1000 actions with 16 features each, states of 32 numbers, 64x64 units, the largest value of"
    " each set. Padded: to the largest set, the state repeated for each action, what is no action masked. Both"
    " have the same weights and give the same values. Per batch, not per update."
)
_LINEAR_NOTE: Final = (
    "The regression of the features; the head, which is refreshed now and then, is left out."
)

_SAC: Final = Task("sac", (256, 256), 256, 17, 6, is_box=True)
_TD3: Final = _SAC._replace(kind="td3")

CASES: Final = {
    "dqn64": _against_peers(
        "DQN, 64x64 units, batch 32", Task("dqn", (64, 64), 32, 4, 2), _DQN_NOTE
    ),
    "dqn120": _against_peers(
        "DQN, 120x84 units, batch 128", Task("dqn", (120, 84), 128, 4, 2), _DQN_NOTE
    ),
    "ppo": _against_peers(
        "PPO, 64x64 units, minibatch 64",
        Task("ppo", (64, 64), 64, 4, 2, size=2048),
        _PPO_NOTE,
        [_SB3],
    ),
    "sac": _against_peers(
        "SAC, 256x256 units, batch 256, 17 observed, 6 controlled", _SAC, _BOX_NOTE
    ),
    "td3": _against_peers("TD3, the same sizes", _TD3, _BOX_NOTE),
    "ragged_train": _ragged("Ragged action sets, forward and backward", is_training=True),
    "ragged_infer": _ragged("Ragged action sets, forward", is_training=False),
    "sac_bf16": _rounded("SAC, rounded products", _SAC),
    "td3_bf16": _rounded("TD3, rounded products", _TD3),
    "qr_dqn": _against_bare("QR-DQN, 64x64 units, batch 64, 32 quantiles", "qr_dqn"),
    "cql": _against_bare("CQL, 64x64 units, batch 64", "cql"),
    "discrete_sac": _against_bare("Discrete SAC, 64x64 units, batch 64", "discrete_sac"),
    "discrete_iql": _against_bare("Discrete IQL, 64x64 units, batch 64", "discrete_iql"),
    "neural_linear": _against_bare(
        "Neural-linear bandit, 64x64 units, batch 64", "neural_linear", _LINEAR_NOTE
    ),
}
