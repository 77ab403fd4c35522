"""Writes deploy/grafana/nacre.json, the dashboard of one Nacre.

    python -m deploy.grafana.dashboard

Change this file, never the JSON. Panels that Nacre judges by itself show its verdict beside the numbers; the
intervals of the canary are those that the verdict comes from, valid at whatever moment somebody looks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = Path(__file__).with_name("nacre.json")

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_HEIGHT: Final = 8
_COLUMNS: Final = 24


class Panel(NamedTuple):
    """One plot. `lines`: pairs of an expression and its legend. `width`: of 24 columns.

    `unit`, `kind`: as Grafana names them.
    """

    title: str
    about: str
    lines: list[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8


def _arms(metric: str, legend: str) -> list[tuple[str, str]]:
    """Mean and two standard errors on either side, for each arm."""
    of = '{policy=~"$policy"}'
    mean, error = f"policy_arm:{metric}:mean1h{of}", f"policy_arm:{metric}:stderr1h{of}"
    return [
        (mean, f"{legend} {{{{arm}}}}"),
        (f"{mean} - 2 * {error}", "{{policy}} {{arm}} low"),
        (f"{mean} + 2 * {error}", "{{policy}} {{arm}} high"),
    ]


def _difference(metric: str) -> list[tuple[str, str]]:
    """Canary minus live, with the interval that the canary's verdict comes from."""
    of = f'{{policy=~"$policy",metric="{metric}"}}'
    middle, radius = f"nacre_canary_difference{of}", f"nacre_canary_radius{of}"
    return [
        (f"max by (policy, metric) ({middle})", "{{policy}}"),
        (f"max by (policy, metric) ({middle} - {radius})", "{{policy}} low"),
        (f"max by (policy, metric) ({middle} + {radius})", "{{policy}} high"),
    ]


def _gauge(name: str, *labels: str) -> tuple[str, str]:
    """One value for each policy and label, whichever process shows it."""
    by = ["policy", *labels]
    expression = f'max by ({", ".join(by)}) ({name}{{policy=~"$policy"}})'
    return expression, " ".join(f"{{{{{label}}}}}" for label in by)


def _rate(name: str, *labels: str, per: str = "$__rate_interval") -> tuple[str, str]:
    """Events a second for each policy and label, over all processes."""
    by = ["policy", *labels]
    expression = f'sum by ({", ".join(by)}) (rate({name}{{policy=~"$policy"}}[{per}]))'
    return expression, " ".join(f"{{{{{label}}}}}" for label in by)


_TRAFFIC: Final = [
    Panel(
        "Fallback now",
        "1: the policy is tripped and its fallback decides.",
        [_gauge("nacre_fallback_active")],
        kind="stat",
        width=4,
    ),
    Panel(
        "Stage of the rollout",
        "Where the newest candidate is.",
        [
            (
                'max by (policy, stage) (nacre_rollout_stage{policy=~"$policy"}) == 1',
                "{{policy}} {{stage}}",
            )
        ],
        kind="stat",
        width=4,
    ),
    Panel(
        "Alarms",
        "Signals that warn or trip now.",
        [
            (
                'max by (policy, signal, level) (nacre_alarm{policy=~"$policy"}) == 1',
                "{{policy}} {{signal}} {{level}}",
            )
        ],
        kind="stat",
        width=8,
    ),
    Panel(
        "Processes",
        "1: the process answers Prometheus.",
        [('up{job=~"$job"}', "{{job}} {{instance}}")],
        kind="stat",
        width=8,
    ),
    Panel(
        "Decisions by reason",
        "What decided: the policy, exploration, the fallback, a person.",
        [('policy_reason:nacre_decisions:rate5m{policy=~"$policy"}', "{{policy}} {{reason}}")],
        unit="reqps",
    ),
    Panel(
        "Time to answer /act",
        "A page at a 99th percentile over 100 ms.",
        [
            ('policy:nacre_act_seconds:p50_rate5m{policy=~"$policy"}', "{{policy}} p50"),
            ('policy:nacre_act_seconds:p99_rate5m{policy=~"$policy"}', "{{policy}} p99"),
        ],
        unit="s",
    ),
    Panel(
        "Failed requests",
        "Share of requests answered with 5xx. The month's budget is 0.1 %.",
        [
            ('job:nacre_request_errors:ratio_rate5m{job=~"$job"}', "{{job}} 5 min"),
            ('job:nacre_request_errors:ratio_rate1h{job=~"$job"}', "{{job}} 1 h"),
            ('job:nacre_request_errors:ratio_rate3d{job=~"$job"}', "{{job}} 3 d"),
        ],
        unit="percentunit",
    ),
    Panel(
        "Refused requests by code",
        "Codes of the problem documents that callers got.",
        [
            (
                'sum by (code) (rate(nacre_requests_refused_total{job=~"$job"}[$__rate_interval]))',
                "{{code}}",
            )
        ],
        unit="reqps",
    ),
    Panel(
        "Writes",
        "Waiting for Redis, answered before Redis confirmed them, lost.",
        [
            (
                'sum by (instance) (nacre_redis_waiting{job=~"$job"})',
                "{{instance}} waiting",
            ),
            (
                'sum by (kind) (increase(nacre_spooled_total{job=~"$job"}[$__rate_interval]))',
                "{{kind}} spooled",
            ),
            ('job_reason:nacre_writes_lost:increase15m{job=~"$job"}', "lost {{reason}}"),
        ],
    ),
    Panel(
        "Memory of Redis",
        "When it is full, /act answers 503.",
        [
            ('max by (job) (nacre_redis_used_memory_bytes{job=~"$job"})', "used"),
            ('max by (job) (nacre_redis_memory_limit_bytes{job=~"$job"})', "limit"),
        ],
        unit="bytes",
    ),
]

_DECISIONS: Final = [
    Panel(
        "Exploration",
        "Entropy of the decisions as a share of uniform choice. A sudden fall is a collapse.",
        [_gauge("nacre_entropy_share")],
        unit="percentunit",
    ),
    Panel(
        "Mean importance weight",
        "Must be 1, or the logged propensities are not true.",
        [_gauge("nacre_importance_weight_mean")],
    ),
    Panel(
        "Largest importance weight",
        "What a single decision can weigh in an evaluation.",
        [_gauge("nacre_importance_weight_max")],
    ),
    Panel(
        "Do actions follow their propensities?",
        "P-value of the chi-squared test. Near 0: they do not.",
        [_gauge("nacre_propensity_chi_squared_p_value")],
        unit="percentunit",
    ),
    Panel(
        "Decisions that no agent made",
        "By why the fallback answered.",
        [_rate("nacre_fallbacks_total", "why")],
        unit="reqps",
    ),
    Panel(
        "Answers repeated",
        "Retries of callers: the first answer is given again.",
        [_rate("nacre_decisions_replayed_total")],
        unit="reqps",
    ),
]

_REWARDS: Final = [
    Panel(
        "Reward of each arm",
        "Mean of an hour with two standard errors. For looking; the verdict comes from the interval on the right.",
        _arms("nacre_reward", "{{policy}}"),
        width=12,
    ),
    Panel(
        "Reward: canary minus live",
        "With its interval, which holds at every look. Below 0 as a whole: rolled back.",
        _difference("reward"),
        width=12,
    ),
    Panel(
        "Cost of each arm",
        "Mean of an hour.",
        [('policy_arm:nacre_cost:mean1h{policy=~"$policy"}', "{{policy}} {{arm}}")],
    ),
    Panel(
        "Cost: canary minus live",
        "With its interval. Above 0 as a whole: worse.",
        _difference("cost"),
    ),
    Panel(
        "Latency: canary minus live",
        "With its interval. Above 0 as a whole: slower.",
        _difference("latency"),
        unit="ms",
    ),
    Panel(
        "Verdict on the canary",
        "-1 roll back, 0 continue, 1 promote, 2 ask a person. After the rollout: 1 live, -1 retired.",
        [_gauge("policy:nacre_canary_decision:settled")],
    ),
    Panel(
        "Share of the canary",
        "Of subjects.",
        [_gauge("nacre_canary_share")],
        unit="percentunit",
    ),
    Panel(
        "Decisions with a known reward",
        "Of each arm, in an hour: what the means above stand on.",
        [('policy_arm:nacre_rewards:increase1h{policy=~"$policy"}', "{{policy}} {{arm}}")],
    ),
    Panel(
        "Reward of the window",
        "Against the frozen baseline.",
        [
            ('max by (policy) (nacre_reward_mean{policy=~"$policy"})', "{{policy}} mean"),
            ('max by (policy) (nacre_reward_baseline{policy=~"$policy"})', "{{policy}} baseline"),
            _gauge("nacre_reward_quantile", "quantile"),
        ],
    ),
    Panel(
        "Delay of rewards",
        "How long a reward takes, as quantiles of the last hour.",
        [
            (
                f"histogram_quantile({q}, sum by (policy, le) "
                '(rate(nacre_reward_delay_seconds_bucket{policy=~"$policy"}[1h])))',
                f"{{{{policy}}}} p{round(100 * q)}",
            )
            for q in (0.5, 0.9, 0.99)
        ],
        unit="s",
    ),
    Panel(
        "Rewards received",
        "By what became of them.",
        [
            (
                'sum by (state) (rate(nacre_rewards_total{job=~"$job"}[$__rate_interval]))',
                "{{state}}",
            )
        ],
        unit="reqps",
    ),
    Panel(
        "How decisions end",
        "Share of the window by outcome, and of the last half hour that got a reward.",
        [
            _gauge("nacre_join_share", "outcome"),
            (
                'policy:nacre_rewarded:ratio_rate30m{policy=~"$policy"}',
                "{{policy}} rewarded, 30 min",
            ),
        ],
        unit="percentunit",
    ),
]

_EVALUATION: Final = [
    Panel(
        "Estimates of the newest evaluation",
        "Estimators that disagree are a reason to trust none of them.",
        [_gauge("nacre_evaluation_value", "estimator")],
    ),
    Panel(
        "Lower bound of the newest evaluation",
        "The gate into the canary compares this with the baseline.",
        [_gauge("nacre_evaluation_lower")],
    ),
    Panel(
        "Effective rows",
        "What the weighted log is worth. Under the declared floor there is no verdict.",
        [_gauge("nacre_evaluation_effective_rows")],
    ),
    Panel(
        "Candidates in the shadow",
        "Share of decisions in which the candidate would have done the same.",
        [_gauge("nacre_shadow_match", "version_slot")],
        unit="percentunit",
        width=12,
    ),
    Panel(
        "Scoring in the shadow",
        "What is skipped had no time left: /act is never slowed down.",
        [
            (_rate("nacre_shadow_scored_total")[0], "{{policy}} scored"),
            (_rate("nacre_shadow_skipped_total")[0], "{{policy}} skipped"),
        ],
        unit="reqps",
        width=12,
    ),
]

_DRIFT: Final = [
    Panel(
        "Distance from the reference",
        "Scores of different kinds have different scales; the p-value beside makes them comparable.",
        [_gauge("nacre_drift_score", "kind")],
    ),
    Panel(
        "P-value of that distance",
        "Uniform between 0 and 1 while nothing changes.",
        [_gauge("nacre_drift_p_value", "kind")],
        unit="percentunit",
    ),
    Panel(
        "Alarms raised",
        "In each hour.",
        [
            (
                'sum by (policy, signal, level) (increase(nacre_alarms_total{policy=~"$policy"}[1h]))',
                "{{policy}} {{signal}} {{level}}",
            )
        ],
    ),
    Panel(
        "Watching is behind by",
        "Age of the newest event of the log that was read; 0 where all of it was.",
        [_gauge("nacre_follower_lag_seconds")],
        width=12,
        unit="s",
    ),
    Panel(
        "Gaps in what was watched",
        "How often the log was trimmed before it was read, in 15 minutes.",
        [('policy:nacre_follower_missed:increase15m{policy=~"$policy"}', "{{policy}}")],
        width=12,
    ),
]

_LEARNER: Final = [
    Panel(
        "Version that decides",
        "Lines that part and stay apart: a server does not get the new version.",
        [
            (
                'nacre_model_version{policy=~"$policy",job=~"$job"}',
                "{{policy}} {{instance}}",
            )
        ],
    ),
    Panel(
        "Transitions",
        "Closed by the worker, learned by the learner, refused by it.",
        [
            (_rate("nacre_joined_total", "outcome")[0], "{{policy}} {{outcome}}"),
            (_rate("nacre_transitions_learned_total")[0], "{{policy}} learned"),
            (
                _rate("nacre_transitions_skipped_total", "reason")[0],
                "{{policy}} skipped: {{reason}}",
            ),
        ],
        unit="ops",
    ),
    Panel(
        "Updates",
        "Gradient updates.",
        [_rate("nacre_updates_total")],
        unit="ops",
    ),
    Panel(
        "Versions",
        "Published, swapped in and refused, in an hour.",
        [
            (
                'sum by (policy) (increase(nacre_versions_published_total{policy=~"$policy"}[1h]))',
                "{{policy}} published",
            ),
            (
                'sum by (policy) (increase(nacre_swaps_total{policy=~"$policy"}[1h]))',
                "{{policy}} swapped in",
            ),
            (
                'policy_reason:nacre_versions_refused:increase15m{policy=~"$policy"}',
                "{{policy}} refused: {{reason}}",
            ),
        ],
    ),
    Panel(
        "Events archived",
        "Written to Parquet.",
        [_rate("nacre_events_archived_total")],
        unit="ops",
    ),
    Panel(
        "Rewards without a decision",
        "They came for a decision that is not known.",
        [_rate("nacre_rewards_orphaned_total")],
        unit="ops",
    ),
]

_SAFETY: Final = [
    Panel(
        "Evidence against each constraint",
        "Trips at its limit, 1 / alpha. Under a constraint that holds it stays small for ever.",
        [
            _gauge("nacre_safety_e_value", "constraint"),
            (
                'max by (policy, constraint) (nacre_safety_e_value_limit{policy=~"$policy"})',
                "{{policy}} {{constraint}} limit",
            ),
        ],
    ),
    Panel(
        "Costs over budget",
        "Decisions a second whose cost was over the constraint's budget.",
        [_rate("nacre_safety_violations_total", "constraint")],
        unit="ops",
    ),
    Panel(
        "Trips and recoveries",
        "In each hour.",
        [
            (
                'sum by (policy, signal) (increase(nacre_trips_total{policy=~"$policy"}[1h]))',
                "{{policy}} tripped by {{signal}}",
            ),
            (
                'sum by (policy, how) (increase(nacre_recoveries_total{policy=~"$policy"}[1h]))',
                "{{policy}} recovered: {{how}}",
            ),
        ],
    ),
]

_APPROVALS: Final = [
    Panel(
        "Approvals that wait",
        "At its deadline each expires, which is a rejection.",
        [_gauge("nacre_approvals_pending")],
        width=6,
    ),
    Panel(
        "Age of the oldest",
        "A ticket at 15 minutes.",
        [_gauge("nacre_approval_age_seconds")],
        unit="s",
        width=6,
    ),
    Panel(
        "Approvals that ended",
        "In each hour, by how; and what became of decisions that were held.",
        [
            (
                'sum by (policy, state) (increase(nacre_approvals_total{policy=~"$policy"}[1h]))',
                "{{policy}} {{state}}",
            ),
            (
                'sum by (policy, became) (increase(nacre_held_decisions_total{policy=~"$policy"}[1h]))',
                "{{policy}} held, became {{became}}",
            ),
        ],
        width=6,
    ),
    Panel(
        "Webhooks",
        "In each hour, by outcome.",
        [
            (
                'sum by (outcome) (increase(nacre_webhooks_total{job=~"$job"}[1h]))',
                "{{outcome}}",
            )
        ],
        width=6,
    ),
]

ROWS: Final = {
    "Traffic and latency": _TRAFFIC,
    "Decisions and exploration": _DECISIONS,
    "Rewards: live and canary": _REWARDS,
    "Evaluation and shadow": _EVALUATION,
    "Drift and watching": _DRIFT,
    "Versions and learner": _LEARNER,
    "Safety and fallback": _SAFETY,
    "Approvals and webhooks": _APPROVALS,
}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana 10 and newer reads it."""
    return {
        "uid": "nacre",
        "title": "Nacre",
        "tags": ["nacre"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source(), *map(_variable, ("job", "policy"), _LOOKED_UP)]},
        "annotations": {"list": [_trips()]},
        "panels": _panels(),
    }


_LOOKED_UP: Final = (
    'label_values(up{job=~"nacre-.*"}, job)',
    "label_values(nacre_model_version, policy)",
)


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # Without this, "All" is the list of names that were there when the page was opened.
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _trips() -> dict[str, Any]:
    """A mark on every plot where a policy was tripped."""
    return {
        "name": "Trips",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'sum by (policy, signal) (increase(nacre_trips_total{policy=~"$policy"}[1m])) > 0',
        "titleFormat": "{{policy}} tripped by {{signal}}",
    }


def _panels() -> list[dict[str, Any]]:
    """Every row's title, then its plots from left to right, in lines of 24 columns."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, plots in ROWS.items():
        panels.append({"type": "row", "title": title, "collapsed": False, **_place(0, y, 24, 1)})
        x, y = 0, y + 1
        for plot in plots:
            if x + plot.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            panels.append(_panel(plot) | _place(x, y, plot.width, _HEIGHT))
            x += plot.width
        y += _HEIGHT
    return [{"id": number, **panel} for number, panel in enumerate(panels, start=1)]


def _place(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _panel(plot: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
        for at, (expression, legend) in enumerate(plot.lines)
    ]
    return {
        "type": plot.kind,
        "title": plot.title,
        "description": plot.about,
        "datasource": _SOURCE,
        "targets": [target | {"datasource": _SOURCE} for target in targets],
        "fieldConfig": {"defaults": {"unit": plot.unit}, "overrides": []},
        "options": _OPTIONS[plot.kind],
    }


_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "none",
        "graphMode": "none",
        "textMode": "value_and_name",
        "reduceOptions": {"calcs": ["lastNotNull"]},
    },
}


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
