"""Turns a sequence of transitions into updates of a learner."""
