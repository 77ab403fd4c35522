"""Several actions at once, each in a slot with a reward of its own or one reward for all.

A slate is an episode of K steps without discount: `sequential` has its estimators, with offsets 0, K, 2 K, ...

    whole slate counts (SIPS)               whole_products
    what stands above counts (RIPS)         running_products; with a model, cascade doubly robust
    only the own slot counts (IIPS)         the ratios as they are

(Li et al. 2018; McInerney et al. 2020; Kiyohara et al. 2022). What is left is the case in which the reward
is for the whole slate, and a sum of unknown parts, one from each slot. Letters: T slates, K slots, A actions;
M = K A pairs of a slot and an action.
"""

from __future__ import annotations

import numpy as np

from agent_core.types import Doubles


def pseudo_inverse_weights(shown: Doubles, target: Doubles, together: Doubles) -> Doubles:
    """`[T]`: target . pinv(together) . shown (Swaminathan et al. 2017).

    Multiplied with the slate's reward this is unbiased if the reward is such a sum, and needs only that single
    pairs were tried, not whole slates.

    `shown`: `[T, M]`, 1 for each pair of the slate that was shown, else 0. `target`: `[T, M]`, how likely each
    pair is under the target policy. `together`: `[T, M, M]`, how likely two pairs are to be in one slate of the
    behaviour policy; on its diagonal, how likely each is.
    """
    # Probabilities of slates are linearly dependent: a slot always has one action. Zero singular values must
    # not survive as rounding errors, whose inverse would be huge.
    inverse = np.linalg.pinv(together, rtol=1e-10, hermitian=True)
    weights: Doubles = np.einsum("tm,tmn,tn->t", target, inverse, shown)
    return weights
