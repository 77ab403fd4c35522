"""The estimators by name: what each adds to the value of the target, unit by unit.

An estimator with a parameter is computed for a grid of them, and SLOPE says which to believe: see
`agent_core.evaluation.slope`. Each belongs to one family, which says what a log is cut into:

    decisions     every decision by itself
    episodes      whole episodes; a decision outside of any is one of a single step
    kernels       decisions whose action is continuous, by actions near to the target's
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from agent_core.evaluation import weights
from agent_core.evaluation.continuous import kernel_weights
from agent_core.evaluation.moments import Estimate, Moments, plain, self_normalized
from agent_core.evaluation.sequential import (
    StepWeights,
    episode_values,
    running_products,
    whole_products,
)
from agent_core.evaluation.terms import Terms, doubly_robust, importance
from agent_core.features.near_miss import near_miss
from agent_core.types import Doubles
from service.evaluation.columns import Columns
from service.evaluation.errors import EvaluationError
from service.evaluation.likeness import LEVELS
from service.evaluation.models import Said
from service.evaluation.sketches import crossed

Family = Literal["decisions", "episodes", "kernels"]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One shard in the pass that estimates: its columns, and what the first pass learned of the whole log."""

    columns: Columns
    said: Said
    visits: Doubles | None
    discount: float
    whole: StepWeights | None
    running: StepWeights | None
    episodes_per_step: float
    scale: Doubles


_Terms: TypeAlias = Callable[[Shard, float], Terms]


@dataclass(frozen=True, slots=True)
class Estimator:
    """`terms`: of each unit, for one of the parameters `grid`, from the least biased on. `needs`: the models that
    it speaks with. `is_biased`: whether it trades bias for variance, which its interval does not know: it is
    shown, and not held against the others."""

    name: str
    family: Family
    terms: _Terms
    average: Callable[[Moments], Estimate] = plain
    grid: tuple[float, ...] = (np.nan,)
    needs: frozenset[str] = frozenset()
    is_biased: bool = False


# -- decisions -------------------------------------------------------------------------------------


def _ips(shard: Shard, _: float) -> Terms:
    return importance(shard.columns.reward, shard.columns.ratio)


def _clipped(shard: Shard, limit: float) -> Terms:
    return importance(shard.columns.reward, weights.clipped(shard.columns.ratio, limit))


def _sub_gaussian(shard: Shard, rate: float) -> Terms:
    return importance(shard.columns.reward, weights.sub_gaussian(shard.columns.ratio, rate))


def _alike(shard: Shard, level: float) -> Terms:
    return importance(shard.columns.reward, shard.columns.alike[:, LEVELS.index(int(level))])


def _with_model(reweighted: Callable[[Doubles, float], Doubles], model: str = "plain") -> _Terms:
    """Doubly robust, with the ratio as `reweighted` makes it of its parameter."""

    def terms(shard: Shard, parameter: float) -> Terms:
        columns = shard.columns
        taken, expected = shard.said[model]
        weight = reweighted(columns.ratio, parameter)
        return doubly_robust(columns.reward, weight, taken, expected)

    return terms


def _ratio(ratio: Doubles, _: float) -> Doubles:
    return ratio


def _nothing(ratio: Doubles, _: float) -> Doubles:
    return np.zeros_like(ratio)


# -- episodes --------------------------------------------------------------------------------------


def _trajectory(shard: Shard, _: float) -> Terms:
    return _episodic(shard, whole_products(shard.columns.ratio, shard.columns.offsets))


def _per_decision(shard: Shard, _: float) -> Terms:
    return _episodic(shard, running_products(shard.columns.ratio, shard.columns.offsets))


def _weighted_trajectory(shard: Shard, _: float) -> Terms:
    assert shard.whole is not None, "the first pass has summed the weights of steps"
    offsets = shard.columns.offsets
    weight = whole_products(shard.columns.ratio, offsets)
    return _episodic(shard, shard.whole.normalized(weight, offsets))


def _weighted_per_decision(shard: Shard, _: float) -> Terms:
    return _episodic(shard, weighted_products(shard))


def _sequential_robust(shard: Shard, _: float) -> Terms:
    products = running_products(shard.columns.ratio, shard.columns.offsets)
    return _episodic(shard, products, *shard.said["steps"])


def _weighted_robust(shard: Shard, _: float) -> Terms:
    return _episodic(shard, weighted_products(shard), *shard.said["steps"])


def _fitted(shard: Shard, _: float) -> Terms:
    nothing = np.zeros_like(shard.columns.ratio)
    return _episodic(shard, nothing, *shard.said["steps"])


def _marginalized(shard: Shard, _: float) -> Terms:
    """The mean over steps of weight times reward is worth an episode (see `visit_coefficients`)."""
    columns, visits = shard.columns, shard.visits
    assert visits is not None, "the first pass has balanced the visits"
    weight = crossed(columns.state, columns.taken) @ visits
    both = np.stack([weight * columns.reward, weight], 1) * shard.episodes_per_step
    correction, total = columns.totals(both, discount=1.0).T
    return Terms(np.zeros_like(correction), correction, total)


def weighted_products(shard: Shard) -> Doubles:
    """`[T]`: running products over the mean of all episodes at the same step."""
    assert shard.running is not None, "the first pass has summed the weights of steps"
    offsets = shard.columns.offsets
    return shard.running.normalized(running_products(shard.columns.ratio, offsets), offsets)


def _episodic(
    shard: Shard, weight: Doubles, taken: Doubles | None = None, expected: Doubles | None = None
) -> Terms:
    columns, offsets = shard.columns, shard.columns.offsets
    nothing = np.zeros_like(weight)
    values = episode_values(
        columns.reward,
        weight,
        nothing if taken is None else taken,
        nothing if expected is None else expected,
        offsets,
        shard.discount,
    )
    return Terms(np.zeros_like(values), values, weight[offsets[1:] - 1])


# -- kernels ---------------------------------------------------------------------------------------


def near(columns: Columns, bandwidth: Doubles) -> Doubles:
    """`[T]`: weights of actions by how near they are to the target's. `bandwidth`: `[D]`."""
    return kernel_weights(columns.action, columns.wanted, columns.propensity, bandwidth)


def _kernel(shard: Shard, share: float) -> Terms:
    return importance(shard.columns.reward, near(shard.columns, share * shard.scale))


def _kernel_robust(shard: Shard, share: float) -> Terms:
    columns = shard.columns
    _, expected = shard.said["plain"]
    weight = near(columns, share * shard.scale)
    # The model speaks of the target's action on both sides (Kallus & Zhou 2018).
    return doubly_robust(columns.reward, weight, expected, expected)


# -- by name ---------------------------------------------------------------------------------------

_LIMITS: Final = (1000.0, 500.0, 200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
_OPTIMISTIC: Final = (1e6, 1e5, 1e4, 1e3, 100.0, 10.0, 1.0, 0.1)
_RATES: Final = (0.0, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_BANDWIDTHS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""In standard deviations of what was done."""
_PLAIN: Final = frozenset({"plain"})
_STEPS: Final = frozenset({"steps"})

_ALL: Final = (
    Estimator("dr", "decisions", _with_model(_ratio), needs=_PLAIN),
    Estimator("sndr", "decisions", _with_model(_ratio), self_normalized, needs=_PLAIN),
    Estimator("ips", "decisions", _ips),
    Estimator("snips", "decisions", _ips, self_normalized),
    Estimator("clipped_ips", "decisions", _clipped, grid=_LIMITS, is_biased=True),
    Estimator("sub_gaussian_ips", "decisions", _sub_gaussian, grid=_RATES, is_biased=True),
    Estimator("switch_dr", "decisions", _with_model(weights.switched), grid=_LIMITS, needs=_PLAIN, is_biased=True),
    Estimator("dros", "decisions", _with_model(weights.optimistic), grid=_OPTIMISTIC, needs=_PLAIN, is_biased=True),
    Estimator("sub_gaussian_dr", "decisions", _with_model(weights.sub_gaussian), grid=_RATES, needs=_PLAIN, is_biased=True),
    Estimator("mrdr", "decisions", _with_model(_ratio, "robust"), needs=frozenset({"robust"})),
    Estimator("mips", "decisions", _alike, grid=tuple(map(float, LEVELS)), needs=frozenset({"likeness"}), is_biased=True),
    Estimator("dm", "decisions", _with_model(_nothing), needs=_PLAIN, is_biased=True),
    Estimator("pdis", "episodes", _per_decision),
    Estimator("tis", "episodes", _trajectory),
    Estimator("wis", "episodes", _weighted_trajectory, needs=frozenset({"weights"})),
    Estimator("wpdis", "episodes", _weighted_per_decision, needs=frozenset({"weights"})),
    Estimator("seq_dr", "episodes", _sequential_robust, needs=_STEPS),
    Estimator("seq_sndr", "episodes", _weighted_robust, needs=frozenset({"steps", "weights"})),
    Estimator("magic", "episodes", _weighted_robust, needs=frozenset({"steps", "weights", "partial"})),
    Estimator("mis", "episodes", _marginalized, needs=frozenset({"visits"}), is_biased=True),
    Estimator("fqe", "episodes", _fitted, needs=_STEPS, is_biased=True),
    Estimator("kernel_dr", "kernels", _kernel_robust, grid=_BANDWIDTHS, needs=_PLAIN, is_biased=True),
    Estimator("kernel_ips", "kernels", _kernel, grid=_BANDWIDTHS, is_biased=True),
    Estimator("kernel_snips", "kernels", _kernel, self_normalized, grid=_BANDWIDTHS, is_biased=True),
)  # fmt: skip
ESTIMATORS: Final = {one.name: one for one in _ALL}

DEFAULTS: Final[dict[Family, tuple[str, ...]]] = {
    "decisions": ("dr", "sndr", "ips", "snips", "clipped_ips", "switch_dr", "dros", "dm"),
    "episodes": ("seq_dr", "seq_sndr", "pdis", "wpdis", "tis", "wis", "fqe"),
    "kernels": ("kernel_dr", "kernel_ips", "kernel_snips"),
}


def chosen_estimators(names: Sequence[str], suited: Family) -> tuple[Estimator, ...]:
    """Those of `names`, or the usual ones of the family that suits the log if there are none.

    Raises:
        EvaluationError: a name is unknown or twice, or they do not suit the log or each other.
    """
    found = tuple(known(name) for name in names or DEFAULTS[suited])
    families = list(dict.fromkeys(one.family for one in found))
    if len(families) > 1:
        first, other = (next(one.name for one in found if one.family == f) for f in families[:2])
        raise EvaluationError(
            f"`{first}` is of {families[0]} and `{other}` of {families[1]}, which are worth different "
            "things; ask for one family at a time"
        )
    if (families[0] == "kernels") != (suited == "kernels"):
        raise EvaluationError(
            f"`{found[0].name}` is of {families[0]}, and the log's actions are "
            f"{'continuous' if suited == 'kernels' else 'out of sets'}; ask for {_listed(suited)}"
        )
    if len(set(found)) < len(found):
        raise EvaluationError("an estimator is named twice; name each once")
    return found


def known(name: str) -> Estimator:
    if name not in ESTIMATORS:
        hint = near_miss(name, ESTIMATORS) or f"there are {', '.join(ESTIMATORS)}"
        raise EvaluationError(f"there is no estimator `{name}`; {hint}")
    return ESTIMATORS[name]


def _listed(family: Family) -> str:
    return ", ".join(name for name, one in ESTIMATORS.items() if one.family == family)


def needs_of(estimators: Iterable[Estimator]) -> frozenset[str]:
    """The models that any of them speaks with."""
    return frozenset().union(*(one.needs for one in estimators))
