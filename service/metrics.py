"""Every metric, defined once. Labels have few values: policies, reasons, states, never ids."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_LATENCY: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

DECISIONS: Final = Counter("nacre_decisions_total", "Decisions answered", ["policy", "reason"])
ACT_SECONDS: Final = Histogram(
    "nacre_act_seconds", "Time to answer /act", ["policy"], buckets=_LATENCY
)
REPLAYED: Final = Counter(
    "nacre_decisions_replayed_total", "Answers repeated for a known id", ["policy"]
)
FALLBACKS: Final = Counter(
    "nacre_fallbacks_total", "Decisions not made by an agent", ["policy", "why"]
)
SPOOLED: Final = Counter("nacre_spooled_total", "Writes answered before Redis confirmed", ["kind"])
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
