"""How fast learners are updated, against what else one could use.

    make bench-learner                                 the whole thing; rewrites RESULTS.md
    make bench-learner ARGS="--quick --json out.json"  the headline alone, within five minutes

Everybody learns from the same made-up experience with networks of the same widths, on one thread. The
contestants of a case take turns inside every round, so that whatever the machine does meanwhile happens to
all of them.
"""
