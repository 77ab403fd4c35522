"""Every metric, defined once; those of the hot path are in `tally.py`. Labels have few values: policies,
reasons, states, never ids.

arm         live | canary | holdback | fallback: who made the decision
kind        psi | mmd | kl | actions | value_error | rewards: what is compared with the reference
signal      what is watched, one of `service.monitoring.rule.SignalName`, or the name of a constraint
level       warning | trip
metric      reward | cost | latency, the last in milliseconds
became      human | fallback | void: what was recorded of a held decision, if anything
version_slot  0, 1, ...: the place of a version among those that are scored in the shadow, never its number
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

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
REDIS_LIMIT: Final = Gauge(
    "nacre_redis_memory_limit_bytes", "Memory that Redis may use; 0 without a limit"
)

# -- rewards ------------------------------------------------------------------------------------------

ARM_REWARDS: Final = Counter(
    "nacre_arm_rewards", "Decisions whose reward is known", ["policy", "arm"]
)
ARM_REWARDS_SUM: Final = Counter(
    "nacre_arm_rewards_sum", "Sum of the rewards that are above zero", ["policy", "arm"]
)
ARM_LOSSES_SUM: Final = Counter(
    "nacre_arm_losses_sum", "Sum of the sizes of the rewards that are below zero", ["policy", "arm"]
)
ARM_REWARDS_SQUARES: Final = Counter(
    "nacre_arm_rewards_squares", "Sum of the squares of the rewards", ["policy", "arm"]
)
ARM_COST_SUM: Final = Counter("nacre_arm_cost_sum", "Sum of the costs", ["policy", "arm"])
REWARD_DELAY: Final = Histogram(
    "nacre_reward_delay_seconds",
    "Time from a decision to its reward",
    ["policy"],
    buckets=(1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400, 604_800),
)
REWARD_MEAN: Final = Gauge("nacre_reward_mean", "Mean reward of the current window", ["policy"])
REWARD_QUANTILE: Final = Gauge(
    "nacre_reward_quantile", "Quantile of the rewards of the current window", ["policy", "quantile"]
)
REWARD_BASELINE: Final = Gauge(
    "nacre_reward_baseline", "Mean reward that the window is compared with", ["policy"]
)

# -- watching -----------------------------------------------------------------------------------------

DRIFT_SCORE: Final = Gauge(
    "nacre_drift_score", "Distance of the current window from the reference", ["policy", "kind"]
)
DRIFT_P_VALUE: Final = Gauge(
    "nacre_drift_p_value", "Probability of such a distance without any change", ["policy", "kind"]
)
ALARM: Final = Gauge("nacre_alarm", "1 while the signal is alarmed", ["policy", "signal", "level"])
ALARMS: Final = Counter("nacre_alarms", "Alarms raised", ["policy", "signal", "level"])
WEIGHT_MEAN: Final = Gauge(
    "nacre_importance_weight_mean", "Mean importance weight; 1 if propensities are true", ["policy"]
)
WEIGHT_MAX: Final = Gauge("nacre_importance_weight_max", "Largest importance weight", ["policy"])
CHI_SQUARED_P_VALUE: Final = Gauge(
    "nacre_propensity_chi_squared_p_value",
    "Probability of the actions taken if the logged propensities are true",
    ["policy"],
)
ENTROPY_SHARE: Final = Gauge(
    "nacre_entropy_share",
    "Mean of the entropy of decisions over the entropy of uniform ones, 0 to 1",
    ["policy"],
)
JOIN_SHARE: Final = Gauge(
    "nacre_join_share", "Share of the window's decisions with this outcome", ["policy", "outcome"]
)
FOLLOWER_LAG: Final = Gauge(
    "nacre_follower_lag_seconds", "Age of what watching has read while more waits", ["policy"]
)
OBSERVER_FAILED: Final = Counter(
    "nacre_observer_failures", "Observers of the log that a defect ended", ["policy", "observer"]
)
FOLLOWER_MISSED: Final = Counter(
    "nacre_follower_missed", "Gaps: the log was trimmed before watching had read it", ["policy"]
)

# -- safety and falling back --------------------------------------------------------------------------

SAFETY_E_VALUE: Final = Gauge(
    "nacre_safety_e_value", "Evidence that the constraint is broken", ["policy", "constraint"]
)
SAFETY_E_VALUE_LIMIT: Final = Gauge(
    "nacre_safety_e_value_limit", "Evidence at which the policy trips", ["policy", "constraint"]
)
SAFETY_VIOLATIONS: Final = Counter(
    "nacre_safety_violations", "Costs over the constraint's budget", ["policy", "constraint"]
)
FALLBACK_ACTIVE: Final = Gauge(
    "nacre_fallback_active", "1 while the policy serves its fallback", ["policy"]
)
TRIPS: Final = Counter("nacre_trips", "Policies tripped to their fallback", ["policy", "signal"])
RECOVERIES: Final = Counter("nacre_recoveries", "Policies that came back", ["policy", "how"])

# -- rollout ------------------------------------------------------------------------------------------

ROLLOUT_STAGE: Final = Gauge(
    "nacre_rollout_stage", "1 for the stage that the newest rollout is in", ["policy", "stage"]
)
CANARY_SHARE: Final = Gauge(
    "nacre_canary_share", "Share of subjects that the canary serves, 0 to 1", ["policy"]
)
CANARY_DECISION: Final = Gauge(
    "nacre_canary_decision",
    "What the evidence says: -1 roll back, 0 continue, 1 promote, 2 ask a person",
    ["policy"],
)
CANARY_DIFFERENCE: Final = Gauge(
    "nacre_canary_difference", "Mean of the canary minus mean of the live arm", ["policy", "metric"]
)
CANARY_RADIUS: Final = Gauge(
    "nacre_canary_radius",
    "Half the width of the difference's confidence interval, valid at any time",
    ["policy", "metric"],
)
SHADOW_SCORED: Final = Counter(
    "nacre_shadow_scored", "Decisions that candidates scored without acting", ["policy"]
)
SHADOW_SKIPPED: Final = Counter(
    "nacre_shadow_skipped", "Decisions that candidates had no time for", ["policy"]
)
SHADOW_MATCH: Final = Gauge(
    "nacre_shadow_match",
    "Share of decisions in which the candidate would have done the same",
    ["policy", "version_slot"],
)

# -- people, evaluation, webhooks ---------------------------------------------------------------------

APPROVALS_PENDING: Final = Gauge(
    "nacre_approvals_pending", "Approvals that wait for a person", ["policy"]
)
APPROVAL_AGE: Final = Gauge(
    "nacre_approval_age_seconds", "Age of the oldest approval that waits", ["policy"]
)
APPROVALS: Final = Counter("nacre_approvals", "Approvals that ended", ["policy", "state"])
HELD: Final = Counter(
    "nacre_held_decisions", "Held decisions that ended, by what they became", ["policy", "became"]
)
EVALUATION_VALUE: Final = Gauge(
    "nacre_evaluation_value", "Estimated reward of the newest evaluation", ["policy", "estimator"]
)
EVALUATION_LOWER: Final = Gauge(
    "nacre_evaluation_lower", "Lower bound of the newest evaluation", ["policy"]
)
EVALUATION_ROWS: Final = Gauge(
    "nacre_evaluation_effective_rows", "Effective rows of the newest evaluation", ["policy"]
)
WEBHOOKS: Final = Counter("nacre_webhooks", "Webhooks sent", ["outcome"])

_JUDGED: Final = (
    REWARD_MEAN, REWARD_QUANTILE, REWARD_BASELINE, DRIFT_SCORE, DRIFT_P_VALUE, ALARM, WEIGHT_MEAN, WEIGHT_MAX,
    CHI_SQUARED_P_VALUE, ENTROPY_SHARE, JOIN_SHARE, FOLLOWER_LAG, SAFETY_E_VALUE, SAFETY_E_VALUE_LIMIT,
    FALLBACK_ACTIVE, ROLLOUT_STAGE, CANARY_SHARE, CANARY_DECISION, CANARY_DIFFERENCE, CANARY_RADIUS, SHADOW_MATCH,
    APPROVALS_PENDING, APPROVAL_AGE, EVALUATION_VALUE, EVALUATION_LOWER, EVALUATION_ROWS,
)  # fmt: skip


def forget_judgements() -> None:
    """Drops every gauge that only the worker in charge sets.

    A worker that lost its lease would otherwise go on showing an alarm that the next one has ended.
    """
    for gauge in _JUDGED:
        gauge.clear()


def count_reward(policy: str, arm: str, reward: float, cost: float) -> None:
    """Adds one decision's reward, of any sign, and its cost >= 0 to the sums of its arm.

    A counter may only grow, so what is below zero has a sum of its own: mean = (rewards - losses) / count.
    """
    ARM_REWARDS.labels(policy, arm).inc()
    ARM_REWARDS_SUM.labels(policy, arm).inc(max(reward, 0.0))
    ARM_LOSSES_SUM.labels(policy, arm).inc(max(-reward, 0.0))
    ARM_REWARDS_SQUARES.labels(policy, arm).inc(reward * reward)
    ARM_COST_SUM.labels(policy, arm).inc(cost)
