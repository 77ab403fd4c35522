"""The same task played by stable-baselines3, if it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.paper.loop import GREEDY_SEED, Episode
from benchmarks.paper.results import Outcome, averages, marks_of
from benchmarks.paper.suite import Environment, Tick

_PACKAGE: Final = "stable_baselines3"
_GREEDY_EPISODES: Final = 10


def peer_settings(kind: str) -> dict[str, Any]:
    """The settings of `settings.continuous` in the peer's words; `kind` is sac, ddpg or td3.

    One learning rate serves actor and critic there.
    """
    return {
        "algorithm": kind.upper(),
        "learning_rate": 3e-4 if kind == "sac" else 1e-3,
        "batch_size": 256,
        "buffer_size": 100_000,
        "gamma": 0.99,
        "tau": 0.005,
        "learning_starts": 1_000,
        "train_freq": 1,
        "policy_kwargs": {"net_arch": [256, 256]},
    }


@dataclass(frozen=True, slots=True)
class Peer:
    """Measures what `suite.Online` measures; its "agent" is `peer_settings`."""

    environment: Callable[[], Environment]
    ticks: int
    window: int = 5_000
    every: int = 1_000

    def why_not(self, agent: Mapping[str, Any]) -> str:
        del agent
        is_there = importlib.util.find_spec(_PACKAGE) is not None
        return "" if is_there else "not available: stable-baselines3 is not installed"

    def __call__(self, agent: Mapping[str, Any], seed: int, tick: Tick) -> Outcome:
        started_s = time.perf_counter()
        model = made(agent, self.environment(), seed)
        episodes: list[Episode] = []
        model.learn(self.ticks, callback=lambda seen, _: _follow(seen, episodes, tick))
        marks = marks_of(self.ticks, self.every)
        return Outcome(
            marks,
            averages(episodes, marks, self.window),
            {"greedy_return": _greedy_return(model, self.environment(), seed)},
            updates=int(model._n_updates),
            seconds=round(time.perf_counter() - started_s, 1),
        )


def made(agent: Mapping[str, Any], environment: Environment, seed: int) -> Any:
    """The algorithm of the peer with the settings `agent`."""
    options = deepcopy(dict(agent))  # the peer adds to what it is given
    package = importlib.import_module(_PACKAGE)
    algorithm = getattr(package, options.pop("algorithm"))
    if algorithm is not package.SAC:
        dim = environment.action_space.shape or ()
        noise = importlib.import_module(f"{_PACKAGE}.common.noise").NormalActionNoise
        options["action_noise"] = noise(np.zeros(dim), np.full(dim, 0.1))
    return algorithm("MlpPolicy", environment, seed=seed, device="cpu", **options)


def _follow(seen: Mapping[str, Any], episodes: list[Episode], tick: Tick) -> bool:
    """Called by the peer after every step, with its local variables."""
    tick()
    for info in seen["infos"]:
        if ended := info.get("episode"):
            at_step = int(seen["self"].num_timesteps)
            episodes.append(Episode(at_step, int(ended["l"]), float(ended["r"]), 0.0))
    return True


def _greedy_return(model: Any, environment: Environment, seed: int) -> float:
    total, observed = 0.0, environment.reset(seed=seed + GREEDY_SEED)[0]
    for _ in range(_GREEDY_EPISODES):
        is_over = False
        while not is_over:
            action = model.predict(observed, deterministic=True)[0]
            observed, reward, terminated, truncated, _ = environment.step(action)
            total += float(reward)
            is_over = terminated or truncated
        observed = environment.reset()[0]
    return total / _GREEDY_EPISODES
