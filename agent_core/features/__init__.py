"""From what a caller sends to what a policy sees: one featurizer for observations and actions."""
