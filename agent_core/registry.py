"""Every module that a policy file can name: a new one is its own file, a line here and a test.

The contract tests run for whatever `members` finds in these unions.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, get_args, get_origin

from pydantic import Field

from agent_core.action_representation.binary import BinaryConfig
from agent_core.action_representation.embedding import EmbeddingConfig
from agent_core.action_representation.identity import IdentityConfig
from agent_core.action_representation.one_hot import OneHotConfig
from agent_core.action_representation.position import PositionConfig
from agent_core.exploration.boltzmann import BoltzmannConfig
from agent_core.exploration.deep import DeepConfig
from agent_core.exploration.epsilon_greedy import EpsilonGreedyConfig
from agent_core.exploration.fast_cb import FastCbConfig
from agent_core.exploration.gaussian import GaussianConfig
from agent_core.exploration.none import NoExplorationConfig
from agent_core.exploration.policy_sample import PolicySampleConfig
from agent_core.exploration.propensity import PropensityConfig
from agent_core.exploration.square_cb import SquareCbConfig
from agent_core.exploration.thompson import ThompsonConfig
from agent_core.exploration.ucb import UcbConfig
from agent_core.exploration.warm_up import WarmUpConfig
from agent_core.features.named import NamedFeaturesConfig
from agent_core.features.plain import BoxConfig, NoFeaturesConfig, VectorFeaturesConfig
from agent_core.history.none import NoHistoryConfig
from agent_core.history.recurrent import GruConfig, LstmConfig
from agent_core.history.stacking import StackingConfig
from agent_core.history.transformer import TransformerConfig
from agent_core.policy_learners.actor_critic.continuous_ppo import ContinuousPpoConfig
from agent_core.policy_learners.actor_critic.ddpg import DdpgConfig
from agent_core.policy_learners.actor_critic.discrete_sac import DiscreteSacConfig
from agent_core.policy_learners.actor_critic.distributional_sac import DistributionalSacConfig
from agent_core.policy_learners.actor_critic.ppo import PpoConfig
from agent_core.policy_learners.actor_critic.reinforce import ReinforceConfig
from agent_core.policy_learners.actor_critic.sac import SacConfig
from agent_core.policy_learners.actor_critic.td3 import Td3Config
from agent_core.policy_learners.bandits.disjoint_linear import DisjointLinearConfig
from agent_core.policy_learners.bandits.linear import LinearConfig
from agent_core.policy_learners.bandits.neural import NeuralConfig
from agent_core.policy_learners.bandits.neural_linear import NeuralLinearConfig
from agent_core.policy_learners.offline.behaviour_cloning import BehaviourCloningConfig
from agent_core.policy_learners.offline.continuous_cloning import ContinuousCloningConfig
from agent_core.policy_learners.offline.discrete_iql import DiscreteIqlConfig
from agent_core.policy_learners.offline.iql import IqlConfig
from agent_core.policy_learners.offline.td3_bc import Td3BcConfig
from agent_core.policy_learners.value_based.bootstrapped_dqn import BootstrappedDqnConfig
from agent_core.policy_learners.value_based.cql import CqlConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.policy_learners.value_based.epinet import EpinetConfig
from agent_core.policy_learners.value_based.iqn import IqnConfig
from agent_core.policy_learners.value_based.qr_dqn import QrDqnConfig
from agent_core.policy_learners.value_based.sarsa import DeepSarsaConfig
from agent_core.replay.episodic import EpisodicConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.replay.hindsight import HindsightConfig
from agent_core.replay.mixed import MixedConfig
from agent_core.replay.n_step import NStepConfig
from agent_core.replay.prioritized import PrioritizedConfig
from agent_core.safety.action_filter import ActionFilterConfig
from agent_core.safety.none import NoSafetyConfig
from agent_core.safety.reward_constrained import RewardConstrainedConfig
from agent_core.safety.risk import (
    CpwConfig,
    CvarConfig,
    MeanVarianceConfig,
    VarConfig,
    WangConfig,
)
from agent_core.safety.stack import StackConfig

_BY_KIND = Field(discriminator="kind")

AnyLearner: TypeAlias = Annotated[
    LinearConfig
    | DisjointLinearConfig
    | NeuralLinearConfig
    | NeuralConfig
    | DqnConfig
    | DeepSarsaConfig
    | QrDqnConfig
    | IqnConfig
    | CqlConfig
    | BootstrappedDqnConfig
    | EpinetConfig
    | ReinforceConfig
    | PpoConfig
    | DiscreteSacConfig
    | BehaviourCloningConfig
    | DiscreteIqlConfig
    | DdpgConfig
    | Td3Config
    | SacConfig
    | DistributionalSacConfig
    | ContinuousPpoConfig
    | Td3BcConfig
    | IqlConfig
    | ContinuousCloningConfig,
    _BY_KIND,
]
_PlainExploration: TypeAlias = (
    NoExplorationConfig
    | EpsilonGreedyConfig
    | UcbConfig
    | ThompsonConfig
    | SquareCbConfig
    | FastCbConfig
    | BoltzmannConfig
    | DeepConfig
    | PropensityConfig
    | GaussianConfig
    | PolicySampleConfig
)
AnyExploration: TypeAlias = Annotated[_PlainExploration | WarmUpConfig, _BY_KIND]
_PlainSafety: TypeAlias = (
    NoSafetyConfig
    | ActionFilterConfig
    | RewardConstrainedConfig
    | MeanVarianceConfig
    | CvarConfig
    | VarConfig
    | WangConfig
    | CpwConfig
)
AnySafety: TypeAlias = Annotated[_PlainSafety | StackConfig, _BY_KIND]
AnyRepresentation: TypeAlias = Annotated[
    IdentityConfig | OneHotConfig | BinaryConfig | EmbeddingConfig | PositionConfig, _BY_KIND
]
AnyHistory: TypeAlias = Annotated[
    NoHistoryConfig | StackingConfig | LstmConfig | GruConfig | TransformerConfig, _BY_KIND
]
AnyReplay: TypeAlias = Annotated[
    FifoConfig | PrioritizedConfig | NStepConfig | HindsightConfig | MixedConfig | EpisodicConfig,
    _BY_KIND,
]
AnyFeatures: TypeAlias = Annotated[
    VectorFeaturesConfig | NamedFeaturesConfig | NoFeaturesConfig, _BY_KIND
]
AnyActions: TypeAlias = Annotated[
    VectorFeaturesConfig | NamedFeaturesConfig | NoFeaturesConfig | BoxConfig, _BY_KIND
]

# Only here is it known what may stand inside of a module that holds others.
WarmUpConfig.model_rebuild(
    _types_namespace={"PlainExploration": Annotated[_PlainExploration, _BY_KIND]}
)
StackConfig.model_rebuild(_types_namespace={"PlainSafety": Annotated[_PlainSafety, _BY_KIND]})


def members(union: Any) -> tuple[type[Any], ...]:
    """The config classes of one of the unions above, in order."""
    if get_origin(union) is Annotated:
        return get_args(get_args(union)[0])
    return (union,)
