"""Every module that a policy file can name: a new one is its own file, a line here and a test.

The contract tests run for whatever `members` finds in these unions.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, get_args, get_origin

from pydantic import Field

from agent_core.action_representation.binary import BinaryConfig
from agent_core.action_representation.identity import IdentityConfig
from agent_core.action_representation.one_hot import OneHotConfig
from agent_core.exploration.boltzmann import BoltzmannConfig
from agent_core.exploration.epsilon_greedy import EpsilonGreedyConfig
from agent_core.exploration.none import NoExplorationConfig
from agent_core.exploration.square_cb import SquareCbConfig
from agent_core.exploration.thompson import ThompsonConfig
from agent_core.exploration.ucb import UcbConfig
from agent_core.features.named import NamedFeaturesConfig
from agent_core.features.plain import NoFeaturesConfig, VectorFeaturesConfig
from agent_core.policy_learners.bandits.linear import LinearConfig
from agent_core.policy_learners.bandits.neural_linear import NeuralLinearConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.safety.action_filter import ActionFilterConfig
from agent_core.safety.none import NoSafetyConfig

_BY_KIND = Field(discriminator="kind")

AnyLearner: TypeAlias = Annotated[LinearConfig | NeuralLinearConfig | DqnConfig, _BY_KIND]
AnyExploration: TypeAlias = Annotated[
    NoExplorationConfig
    | EpsilonGreedyConfig
    | UcbConfig
    | ThompsonConfig
    | SquareCbConfig
    | BoltzmannConfig,
    _BY_KIND,
]
AnySafety: TypeAlias = Annotated[NoSafetyConfig | ActionFilterConfig, _BY_KIND]
AnyRepresentation: TypeAlias = Annotated[IdentityConfig | OneHotConfig | BinaryConfig, _BY_KIND]
AnyReplay: TypeAlias = FifoConfig
AnyFeatures: TypeAlias = Annotated[
    VectorFeaturesConfig | NamedFeaturesConfig | NoFeaturesConfig, _BY_KIND
]


def members(union: Any) -> tuple[type[Any], ...]:
    """The config classes of one of the unions above, in order."""
    if get_origin(union) is Annotated:
        return get_args(get_args(union)[0])
    return (union,)
