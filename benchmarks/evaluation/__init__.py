"""Estimates beside what really happened, and what several workers do to the time that they take.

python -m benchmarks.evaluation [--json FILE]

Open Bandit     two policies served the same shop, so the value of each is known from its own log, and is
                estimated from the other's; from NACRE_DATA (`obd`, `obd_oracle`)
workers         the same log in this process, in two, and as Ray tasks: the same report, in how many seconds
"""
