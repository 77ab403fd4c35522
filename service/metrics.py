"""Every metric, defined once; those of the hot path are in `tally.py`. Labels have few values: policies,
reasons, states, never ids."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

SPOOLED: Final = Counter("nacre_spooled_total", "Writes answered before Redis confirmed", ["kind"])
LOST: Final = Counter(
    "nacre_writes_lost_total", "Writes that were promised and could not be kept", ["reason"]
)
REWARDS: Final = Counter("nacre_rewards_total", "Rewards received", ["state"])
REFUSED: Final = Counter(
    "nacre_requests_refused_total", "Requests answered with a problem", ["code"]
)
SWAPS: Final = Counter("nacre_swaps_total", "Versions swapped in", ["policy"])
REFUSED_VERSIONS: Final = Counter(
    "nacre_versions_refused_total", "Versions that this server did not take", ["policy", "reason"]
)
VERSION: Final = Gauge("nacre_model_version", "Version that decides here", ["policy"])
LINK_WAITING: Final = Gauge("nacre_redis_waiting", "Commands that Redis has not confirmed")
JOINED: Final = Counter(
    "nacre_joined_total", "Decisions closed by the joiner", ["policy", "outcome"]
)
ORPHANED: Final = Counter(
    "nacre_rewards_orphaned_total", "Rewards whose decision never came", ["policy"]
)
ARCHIVED: Final = Counter("nacre_events_archived_total", "Events written to Parquet", ["policy"])
LEARNED: Final = Counter("nacre_transitions_learned_total", "Transitions taken in", ["policy"])
SKIPPED: Final = Counter(
    "nacre_transitions_skipped_total", "Transitions refused", ["policy", "reason"]
)
UPDATES: Final = Counter("nacre_updates_total", "Gradient updates", ["policy"])
PUBLISHED: Final = Counter("nacre_versions_published_total", "Versions published", ["policy"])
REDIS_USED: Final = Gauge("nacre_redis_used_memory_bytes", "Memory that Redis uses")
