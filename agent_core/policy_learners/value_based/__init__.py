"""Learners of action values that bootstrap from the next decision."""
