"""What a request costs the server, against a raw ASGI app and against what else one could use.

    make bench-serving                                 the whole thing; rewrites RESULTS.md
    make bench-serving ARGS="--quick --json out.json"  within five minutes

Every server is pinned to one core; the load generator and Redis share another. The cases take turns
inside every round, so that whatever the machine does meanwhile happens to all of them.
"""
