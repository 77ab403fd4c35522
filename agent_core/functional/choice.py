"""From scores to the probability of every action, and from probabilities to one choice.

These run in every decision, so they are numpy on one action set: `value` is `[A]` float64 with A >= 1
and magnitudes up to `LARGEST_SCORE`, results are `[A]` float64 that sum to 1 within 1e-12. The idiom
`x[x.argmax()]` is the maximum at a fifth of the price of `x.max()` on ten actions.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from agent_core.types import Doubles, Mask

LARGEST_SCORE = 1e150
"""Beyond it, a difference of scores times a scale could overflow; the agent refuses such scores."""

_WORD = 0xFFFF_FFFF_FFFF_FFFF


def _best(value: Doubles) -> npt.NDArray[np.intp]:
    """Positions of the highest value: one, or more where they tie exactly."""
    ties: Mask = value == value[value.argmax()]
    return ties.nonzero()[0]


def greedy(value: Doubles) -> Doubles:
    """All probability on the highest value, split equally among exact ties."""
    return epsilon_greedy(value, 0.0)


def epsilon_greedy(value: Doubles, epsilon: float) -> Doubles:
    """Greedy with probability 1 - epsilon, uniform with probability `epsilon` in [0, 1]; Sutton & Barto 2018,
    section 2.2."""
    best = _best(value)
    share = epsilon / len(value)
    probabilities = np.empty(len(value))
    probabilities.fill(share)  # `np.full` takes three times as long on ten actions
    probabilities[best] = (1.0 - epsilon) / len(best) + share
    return probabilities


def softmax(value: Doubles, temperature: float) -> Doubles:
    """Boltzmann probabilities, proportional to exp(value / temperature); `temperature` >= 1e-6, in the unit of
    `value`."""
    weights: Doubles = np.exp((value - value[value.argmax()]) / temperature)
    weights /= weights.sum()
    return weights


def square_cb(value: Doubles, scale: float) -> Doubles:
    """Inverse gap weighting with learning rate `scale` >= 0; Foster & Rakhlin 2020, algorithm 1.

    An action that is not the best gets 1 / (A + scale * gap); the best gets the rest, split equally
    among exact ties (the paper picks one of them; the split is the average over that pick).
    """
    best = _best(value)
    probabilities: Doubles = 1.0 / (len(value) + scale * (value[best[0]] - value))
    rest = 1.0 - probabilities.sum()
    probabilities[best] += rest / len(best)
    return probabilities


def fast_cb(value: Doubles, scale: float) -> Doubles:
    """Reweighted inverse gap weighting, relative to the best loss, with learning rate `scale` > 0;
    Foster & Krishnamurthy 2021, algorithm 1 (FastCB).

    `value`: expected rewards, taken as the nearer end where they lie outside of [0, 1]; the loss is
    1 - value. An action that is not the best gets b / (A * b + scale * gap), where b is the best loss:
    the nearer to perfect the best action, the less is spent on all others, and nothing at b = 0. The
    best gets the rest, split equally among exact ties.
    """
    loss = 1.0 - np.minimum(np.maximum(value, 0.0), 1.0)
    least = loss.item(loss.argmin())
    best = (loss == least).nonzero()[0]
    if least == 0.0:
        probabilities = np.zeros(len(loss))
    else:
        probabilities = least / (len(loss) * least + scale * (loss - least))
        probabilities[best] = 0.0
    probabilities[best] = (1.0 - probabilities.sum()) / len(best)
    return probabilities


def posterior_maxima(
    value: Doubles, spread: Doubles, draws: int, seed: int, scale: float = 1.0
) -> Doubles:
    """Share of `draws` joint posterior draws in which each action is the best; ties are split.

    `spread`: `[A, R]`, a factor of the posterior covariance; `scale` multiplies the standard
    deviations. An estimate of Thompson sampling's probabilities with standard error below
    0.5 / sqrt(draws); what falls under about 1 / draws reads as 0.
    """
    actions, rank = spread.shape
    if rank > 2 * actions:
        # The triangle has the same covariance with A columns. Normals cost most, and the
        # factorization pays for itself from about twice as many columns as actions.
        triangle: Doubles = np.linalg.qr(spread.T, mode="r")  # type: ignore[assignment]
        spread = triangle.T
    generator = np.random.Generator(np.random.PCG64(seed))
    normals = generator.standard_normal((spread.shape[1], draws))
    samples = value[:, None] + (scale * spread) @ normals
    ties = samples == samples.max(axis=0)
    wins = ties.sum(axis=1)
    has_ties = wins.sum() > draws
    shares: Doubles = (ties / ties.sum(axis=0)).mean(axis=1) if has_ties else wins / draws
    return shares


def with_floor(probabilities: Doubles, floor: float) -> Doubles:
    """Mixes in the uniform distribution, so that every action has at least `floor`.

    A floor above 1 / A is taken as 1 / A, which is uniform.
    """
    if floor <= 0.0:
        return probabilities
    actions = len(probabilities)
    share = min(floor, 1.0 / actions)
    return (1.0 - actions * share) * probabilities + share


def sample(probabilities: Doubles, uniform: float) -> int:
    """Index of the action that `uniform` in [0, 1) falls on. Never an action with probability 0.

    Inverse of the cumulative sum, scaled by its own total: rounding may leave the total beside 1, but
    `uniform * total` stays below the total, and a search to the right skips steps of height 0.
    """
    cumulative = np.add.accumulate(probabilities)
    return bisect_right(cumulative, uniform * cumulative.item(-1))


def uniform_from(seed: int) -> float:
    """A number in [0, 1) that only depends on the 64-bit `seed`: splitmix64, top 53 bits.

    Steele, Lea & Flood 2014. Constructing one of numpy's generators for a single number costs ten
    times as much.
    """
    z = (seed + 0x9E37_79B9_7F4A_7C15) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & _WORD
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53
