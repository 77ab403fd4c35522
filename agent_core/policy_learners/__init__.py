"""Algorithms: a policy (the act half) and what trains it (the learn half)."""
