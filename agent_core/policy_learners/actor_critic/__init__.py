"""Learners with an actor over action sets, or over a box."""
