"""Learners that treat every decision as a whole: what follows it does not matter."""
