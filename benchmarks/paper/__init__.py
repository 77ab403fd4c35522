"""The benchmarks of the paper that this agent is modelled on, run against this agent."""
