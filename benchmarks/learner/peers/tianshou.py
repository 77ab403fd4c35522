"""Tianshou: `update`, on a full buffer. Its DQN copies the target network now and then, none bounds its gradient."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.learner.contestant import Contestant
from benchmarks.learner.peers import imported, spaces_of
from benchmarks.learner.task import Task, made_up

_RATE: Final = 1e-3
_TARGET_PERIOD: Final = 100


def tianshou(task: Task) -> Contestant:
    """Raises: NotMeasuredError: it is not installed."""
    algorithm = _ALGORITHMS[task.kind](task)
    buffer = _buffer(task)
    within = imported("tianshou.utils.torch_utils").policy_within_training_step

    def step() -> None:
        with within(algorithm.policy):
            algorithm.update(buffer=buffer, sample_size=task.batch_size)

    return Contestant(step, 1)


def _buffer(task: Task) -> Any:
    told = made_up(task)
    return imported("tianshou.data").ReplayBuffer.from_data(
        obs=told.state,
        act=told.action,
        rew=told.reward,
        terminated=told.terminated,
        truncated=told.terminated & False,
        done=told.terminated,
        obs_next=told.next_state,
    )


def _dqn(task: Task) -> Any:
    algorithms = imported("tianshou.algorithm.modelfree.dqn")
    model = _net(task, action_shape=task.action_dim)
    policy = algorithms.DiscreteQLearningPolicy(model=model, action_space=spaces_of(task)[1])
    return algorithms.DQN(
        policy=policy,
        optim=_adam(),
        target_update_freq=_TARGET_PERIOD,
        is_double=False,
        huber_loss_delta=1.0,
    )


def _sac(task: Task) -> Any:
    algorithms, nets = imported("tianshou.algorithm.modelfree.sac"), _continuous()
    shape = (task.action_dim,)
    actor = nets.ContinuousActorProbabilistic(
        preprocess_net=_net(task), action_shape=shape, unbounded=True, conditioned_sigma=True
    )
    alpha = algorithms.AutoAlpha(-float(task.action_dim), 0.0, _adam())
    policy = algorithms.SACPolicy(actor=actor, action_space=spaces_of(task)[1])
    return algorithms.SAC(policy=policy, alpha=alpha, **_critics(task))


def _td3(task: Task) -> Any:
    shape = (task.action_dim,)
    actor = _continuous().ContinuousActorDeterministic(
        preprocess_net=_net(task), action_shape=shape
    )
    policies = imported("tianshou.algorithm.modelfree.ddpg")
    policy = policies.ContinuousDeterministicPolicy(actor=actor, action_space=spaces_of(task)[1])
    return imported("tianshou.algorithm").TD3(policy=policy, **_critics(task))


def _critics(task: Task) -> dict[str, Any]:
    first, second = (
        _continuous().ContinuousCritic(
            preprocess_net=_net(task, action_shape=task.action_dim, concat=True)
        )
        for _ in range(2)
    )
    optimizers = {f"{name}_optim": _adam() for name in ("policy", "critic", "critic2")}
    return {"critic": first, "critic2": second, **optimizers}


def _net(task: Task, **options: Any) -> Any:
    net = imported("tianshou.utils.net.common").Net
    return net(state_shape=(task.state_dim,), hidden_sizes=list(task.hidden), **options)


def _continuous() -> Any:
    return imported("tianshou.utils.net.continuous")


def _adam() -> Any:
    return imported("tianshou.algorithm.optim").AdamOptimizerFactory(lr=_RATE)


_ALGORITHMS: Final = {"dqn": _dqn, "sac": _sac, "td3": _td3}
