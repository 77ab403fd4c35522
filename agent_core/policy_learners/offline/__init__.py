"""Learners of logged data that somebody else decided."""
