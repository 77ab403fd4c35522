"""The key layout of one policy, and how the scripts beside the repositories are loaded.

Every key of a policy carries the hash tag `{policy}`, so that one Lua script may touch several of them
on a Redis Cluster too.

    nacre:policies                      set: the names of all policies
    nacre:hints                         pub/sub: "policy" when something of it changed (a hint, not truth)
    nacre:lease:<role>                  string: who holds the role
    nacre:{p}:meta                      hash: config, live version and those before, pin, revisions
    nacre:{p}:versions                  hash: version number -> its JSON description
    nacre:{p}:catalog:<revision>        string: the action catalog as JSON
    nacre:{p}:approvals                 sorted set: approvals that wait for a person, by deadline in ms
    nacre:{p}:approval:<id>             hash: one approval; approval.closed, .audit and .told: see
                                        `service.approvals.repository`
    nacre:{p}:audit                     stream: who moved the policy's head, when and why
    nacre:{p}:evaluations               sorted set: evaluations by when they were asked for; evaluations:waiting is a
                                        list of those that wait, evaluation:<id> a hash: request, state, report
    nacre:{p}:following                 hash: how far the worker followed the log, and what its observers keep
    nacre:{p}:alarms                    stream: alarms that were raised and ended
    nacre:{p}:windows                   stream: windows that were judged
    nacre:{p}:monitoring                string: how watching stands, as JSON
    nacre:{p}:reference:<lineage>       hash: what windows of a version line are compared with, written once
    nacre:{p}:log                       stream: every event in order; the source of all that follows
    nacre:{p}:d:<decision id>           hash: b record, g digest, s state, a activated, x replay id
    nacre:{p}:r:<decision id>           hash: the reward ledger; exists before the decision if a reward came first
    nacre:{p}:due                       sorted set: decisions waiting to be joined, by due time in ms
    nacre:{p}:early                     sorted set: ledgers without a decision, by arrival in ms
    nacre:{p}:ep:<episode id>           hash: step -> decision id; sealed; next observation of the end; the
                                        carry of the history, and the step after which it is
    nacre:{p}:episodes                  sorted set: open episodes by last activity in ms
    nacre:{p}:replay                    stream: finished transitions for the learner
    nacre:{p}:counts                    hash: the account of the policy
    nacre:{p}:learner                   hash: what the learner last said of itself, and what it published last
    nacre:{p}:job, nacre:{p}:job:<id>   string: id of the unfinished learn job; hash: request, report of each
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

POLICIES = "nacre:policies"
HINTS = "nacre:hints"
LEASE_PREFIX = "nacre:lease:"


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script, sent by its SHA-1 after a SCRIPT LOAD."""

    text: str
    sha: str

    @classmethod
    def load(cls, package: str, name: str) -> Script:
        text = files(package).joinpath(name).read_text("utf-8")
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class PolicyKeys:
    """The key names of one policy, made once and shared."""

    __slots__ = (
        "alarms", "audit", "catalog_prefix", "counts", "decision_prefix", "due", "early", "episode_prefix", "episodes",
        "following", "job", "learner", "ledger_prefix", "log", "meta", "monitoring", "policy",
        "reference_prefix", "replay", "versions", "windows",
    )  # fmt: skip

    def __init__(self, policy: str) -> None:
        root = f"nacre:{{{policy}}}:"
        self.policy = policy
        self.meta = root + "meta"
        self.versions = root + "versions"
        self.catalog_prefix = root + "catalog:"
        self.log = root + "log"
        self.decision_prefix = root + "d:"
        self.ledger_prefix = root + "r:"
        self.due = root + "due"
        self.early = root + "early"
        self.episode_prefix = root + "ep:"
        self.episodes = root + "episodes"
        self.replay = root + "replay"
        self.counts = root + "counts"
        self.learner = root + "learner"
        self.job = root + "job"
        self.audit = root + "audit"
        self.following = root + "following"
        self.alarms = root + "alarms"
        self.monitoring = root + "monitoring"
        self.windows = root + "windows"
        self.reference_prefix = root + "reference:"


def text(value: Any) -> str:
    """A Redis reply as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def raw(value: Any) -> bytes:
    """A Redis reply as bytes; clients here never decode."""
    assert isinstance(value, bytes)
    return value
