"""The decision service: HTTP in front, Redis behind, agents in between.

One folder a feature: `endpoints` translates HTTP, `logic` decides and knows no Redis, `repository`
holds every Redis key and command of the feature, `schemas` is the wire contract.
"""
