"""One module for each group of claims."""

from __future__ import annotations

from typing import Final

from benchmarks.paper.suites import (
    cartpole,
    constraints,
    control,
    deep_sea,
    dynamic_actions,
    mean_variance,
    offline,
    partial_cartpole,
    uci_bandits,
)

SUITES: Final = {
    one.SUITE.name: one.SUITE
    for one in (
        cartpole,
        uci_bandits,
        partial_cartpole,
        deep_sea,
        mean_variance,
        constraints,
        dynamic_actions,
        control,
        offline,
    )
}
