"""Columns of a log, by hand. Two decisions: one of two actions, one of three."""

from __future__ import annotations

import numpy as np

from agent_core.evaluation.logged import LoggedDecisions

_LOG = LoggedDecisions(
    reward=np.array([1.0, 2.0]),
    propensity=np.array([0.5, 0.25]),
    action=np.array([1, 0]),
    target=np.array([0.25, 0.75, 0.5, 0.5, 0.0]),
    offsets=np.array([0, 2, 5]),
)


def test_the_ratio_is_how_much_likelier_the_target_policy_was_to_do_the_same() -> None:
    # 0.75 / 0.5 and 0.5 / 0.25.
    assert _LOG.ratio().tolist() == [1.5, 2.0]


def test_every_action_has_its_value_and_every_set_its_mean() -> None:
    values = np.array([4.0, 8.0, 1.0, 3.0, 100.0])

    assert _LOG.taken(values).tolist() == [8.0, 1.0]
    # 0.25 * 4 + 0.75 * 8 = 7, and 0.5 + 1.5 + 0 * 100 = 2.
    assert _LOG.expected(values).tolist() == [7.0, 2.0]
