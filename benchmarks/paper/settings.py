"""The paper's settings (Zhu et al. 2023, appendix B.2), as parts of policy files.

AdamW decays weights by 0.01 where nothing else is said; so it does here.
"""

from __future__ import annotations

from typing import Any, Final

import gymnasium
from gymnasium import spaces

WEIGHT_DECAY: Final = 0.01
_FIFO: Final = {"kind": "fifo", "capacity": 50_000}
FASTER: Final = {"tune_after_updates": 1_000}
"""Wide networks: a faster form of an update pays within minutes."""
_EACH_STEP: Final = {"batch_size": 32, "updates_per_transition": 1.0, "warmup_transitions": 32}
_SMALL: Final = {"hidden": [64, 64], "discount": 0.99, "weight_decay": WEIGHT_DECAY}


def sized(environment: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """What a policy file says of the observations and actions of `environment`."""
    observed, actions = environment.observation_space, environment.action_space
    assert isinstance(observed, spaces.Box)
    observation = {"kind": "vector", "dim": int(observed.low.size)}
    if isinstance(actions, spaces.Discrete):
        count = int(actions.n)
        ids = [str(action) for action in range(count)]
        representation = {"kind": "one_hot", "ids": ids}
        return {
            "observation": observation,
            "max_actions": count,
            "action_representation": representation,
        }
    assert isinstance(actions, spaces.Box)
    limits = {"low": actions.low.tolist(), "high": actions.high.tolist()}
    return {"observation": observation, "actions": {"kind": "box", **limits}}


def value_based(environment: gymnasium.Env[Any, Any], kind: str, **options: Any) -> dict[str, Any]:
    """B.2.1: epsilon 0.1, batches of 32, learning rate 1e-3, a copied target every 10 updates."""
    copied = {"learning_rate": 1e-3, "target_mix": 1.0, "target_period_updates": 10}
    return {
        **sized(environment),
        "policy_learner": {"kind": kind, **_SMALL, **copied, **options},
        "replay": _FIFO,
        "schedule": _EACH_STEP,
        "exploration": {"kind": "epsilon_greedy", "epsilon": 0.1},
    }


def policy_based(environment: gymnasium.Env[Any, Any], kind: str, **options: Any) -> dict[str, Any]:
    """B.2.1: learning rate 1e-4, one episode at a time, or batches of 32 for `discrete_sac`.

    PPO's ratio stays between 0.9 and 1.1; how often it goes through what, the paper leaves open, and Pearl's own
    script (48f1fbb, pearl/utils/scripts/benchmark_config.py) says: 50 batches of 32 for every 200 steps, eight epochs.
    Discrete SAC tunes its temperature, which the paper fixes to 0.1.
    """
    learner = {"kind": kind, **_SMALL, "learning_rate": 1e-4, **_OWN.get(kind, {}), **options}
    is_on_policy = kind != "discrete_sac"
    return {
        **sized(environment),
        "policy_learner": learner,
        "replay": _EPISODES | _CUT.get(kind, {}) if is_on_policy else _FIFO,
        "schedule": _EACH_STEP,
        "exploration": {"kind": "propensity"},
    }


def continuous(environment: gymnasium.Env[Any, Any], kind: str, **options: Any) -> dict[str, Any]:
    """B.2.2: 256 x 256 units, batches of 256, targets mixed by 0.005, Gaussian noise of 0.1."""
    exploration = {"kind": "policy_sample"} if kind == "sac" else {"kind": "gaussian", "sigma": 0.1}
    return {
        **sized(environment),
        "policy_learner": {"kind": kind, "hidden": [256, 256], "discount": 0.99, **options},
        "replay": {"kind": "fifo", "capacity": 100_000},
        "schedule": {**_EACH_STEP, "batch_size": 256, "warmup_transitions": 1_000, **FASTER},
        "exploration": exploration,
    }


_EPISODES: Final = {"kind": "episodic", "rollout_transitions": 1}
_CUT: Final = {"ppo": {"cut_after": 200}}
_OWN: Final[dict[str, dict[str, Any]]] = {
    "reinforce": {"baseline_learning_rate": 1e-4},
    "ppo": {"critic_learning_rate": 1e-4, "clip": 0.1, "epochs": 8, "minibatch_size": 32},
    "discrete_sac": {"initial_temperature": 0.1},
}
