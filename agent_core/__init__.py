"""The composed agent: policy learner, exploration, safety, action representation, replay.

Knows no HTTP, no Redis, no environment variables and no clock. Acting is numpy on one decision at a
time and keeps no state; learning is torch on batches. `agent.Agent` and `training.AgentLearner` are
the two objects that a service or a script holds.
"""
