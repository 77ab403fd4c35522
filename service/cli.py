"""The command line: `nacre --help`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from service.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Nacre, an online decision service."
)


@app.command()
def up(
    policies: Annotated[Path | None, typer.Option(help="Folder of policy files.")] = None,
    data: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(".nacre"),
    port: Annotated[int, typer.Option(help="Port of the API.")] = 8000,
) -> None:
    """Run API, worker, learner and a private Redis on this machine."""
    from service.up import run_up

    raise typer.Exit(run_up(data, policies, port))


@app.command()
def serve() -> None:
    """Run the API."""
    from service.workers.api import run_api

    run_api(_start("serve"))


@app.command()
def worker() -> None:
    """Run the controller: joins rewards, archives the log."""
    from service.workers.worker import run

    _run_until_signal(run, _start("worker"))


@app.command()
def learner() -> None:
    """Run the trainer: follows the replay stream, publishes versions. Those of one torchrun are one trainer."""
    from agent_core.errors import ConfigError
    from service.workers.ranks import is_follower

    try:
        if is_follower():
            from service.workers.follower import run_follower

            run_follower(_begin("learner"))
        else:
            from service.workers.learner import run

            _run_until_signal(run, _start("learner"))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


@app.command()
def demo(
    env: Annotated[
        str | None, typer.Option(help="A gymnasium environment, such as CartPole-v1.")
    ] = None,
    log: Annotated[str | None, typer.Option(help="A logged data set: open-bandit.")] = None,
    story: Annotated[
        bool, typer.Option("--story", help="Gate, canary, approval, drift, fallback: all of it.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file.")] = None,
    plot: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("demo.png"),
    requests: Annotated[int | None, typer.Option(help="How many decisions to ask for.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 0,
) -> None:
    """Play a real task through HTTP and print what was learned."""
    from service.demo import run_demo

    raise typer.Exit(
        run_demo(env=env, log=log, story=story, json=json, plot=plot, requests=requests, seed=seed)
    )


@app.command()
def check(path: Annotated[Path, typer.Argument(help="A policy file.")]) -> None:
    """Validate a policy file and report every conflict at once."""
    from agent_core.errors import ConfigError
    from service.policies.config import load_policy

    try:
        policy = load_policy(path)
    except (ConfigError, OSError) as error:
        problems = getattr(error, "problems", (error,))
        typer.echo(f"{path}: {len(problems)} problem(s)", err=True)
        for problem in problems:
            typer.echo(f"  {problem}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{path}: fine ({policy.config_hash}, {policy.agent.feature_schema})")


@app.command()
def replay(
    decision_id: Annotated[str, typer.Argument(help="The decision to compute again.")],
    policy: Annotated[
        str | None, typer.Option(help="Its policy; needed when there are several.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute one logged decision again and compare it bit by bit."""
    from service.decisions.replay import run_replay

    raise typer.Exit(asyncio.run(run_replay(_settings(), decision_id, policy, as_json=json)))


@app.command()
def evaluate(
    target: Annotated[
        str, typer.Argument(help="A version (7 or digits@7), uniform, behaviour or logged.")
    ],
    policy: Annotated[
        str | None, typer.Option(help="Name of a policy; for a log file also its policy file.")
    ] = None,
    log: Annotated[str, typer.Option(help="A file or a folder of an archive; or live.")] = "live",
    format: Annotated[
        str | None, typer.Option(help="archive, jsonl or dsjson; by default as the name says.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="decision, or shadow: those that another system told of.")
    ] = "decision",
    baseline: Annotated[
        str, typer.Option(help="The value to be better than; or logged.")
    ] = "logged",
    estimators: Annotated[
        str, typer.Option(help="Names with commas between; by default those that suit the log.")
    ] = "",
    delta: Annotated[float, typer.Option(help="How often a bound may be wrong.")] = 0.05,
    bound: Annotated[str, typer.Option(help="The bound that must reach the baseline.")] = "betting",
    effective_rows: Annotated[float, typer.Option(help="What the log must be worth.")] = 100.0,
    greedy: Annotated[bool, typer.Option("--greedy", help="Without exploration.")] = False,
    weights: Annotated[
        str | None, typer.Option(help="Of the parts of rewards: click=1,dwell_s=0.01.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(help="Such as cost<=0.1; may be repeated.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the report; - prints it.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap and of the split.")] = 0,
) -> None:
    """Say what a policy would have earned on the decisions of a log."""
    from service.evaluation.command import Output, run_evaluate

    _die_with_parent()
    options: dict[str, object] = {
        "target": target,
        "policy": policy,
        "greedy": greedy,
        "kind": kind,
        "baseline": baseline,
        "estimators": [name for name in estimators.split(",") if name],
        "delta": delta,
        "bound": bound,
        "effective_rows": effective_rows,
        "since": since,
        "until": until,
        "weights": weights,
        "constraints": constraint or [],
        "seed": seed,
    }
    code = run_evaluate(_settings(), options, (log, format), workers, Output(json, html))
    raise typer.Exit(code)


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="A .jsonl or .dsjson file; .gz compresses it.")],
    policy: Annotated[str | None, typer.Option(help="Name of a policy.")] = None,
    log: Annotated[str, typer.Option(help="A file or a folder of an archive; or live.")] = "live",
    since: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
) -> None:
    """Write a log for other tools: JSONL, or DSJSON as Vowpal Wabbit reads it."""
    from service.evaluation.export_command import run_export

    raise typer.Exit(run_export(_settings(), path, policy, log, (since, until)))


@app.command()
def version() -> None:
    """Print the version."""
    from service.version import __version__

    typer.echo(__version__)


def _settings() -> Settings:
    from pydantic import ValidationError

    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "NACRE_" + "_".join(map(str, problem["loc"])).upper()
            typer.echo(f"{name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None


def _start(process: str) -> Settings:
    """What every long-lived process does first that uses Redis."""
    from service.workers.precheck import redis_is_fit

    settings = _begin(process)
    if not asyncio.run(redis_is_fit(settings.redis_url)):
        raise typer.Exit(1)
    return settings


def _begin(process: str) -> Settings:
    """What every long-lived process does first."""
    from service import logs

    settings = _settings()
    logs.set_up(process, settings.log_level)
    _die_with_parent()
    return settings


def _die_with_parent() -> None:
    """Under `nacre up`, a killed parent must not leave children behind."""
    parent = os.environ.get("NACRE_PARENT")
    if parent and sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != int(parent):
            raise SystemExit("the parent process is gone")


def _run_until_signal(
    run: Callable[[Settings, asyncio.Event], Awaitable[None]], settings: Settings
) -> None:
    from prometheus_client import start_http_server

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(settings, stop)

    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, settings.host)
    asyncio.run(main())


def main() -> None:
    """Entry point of the `nacre` command."""
    app()


if __name__ == "__main__":
    main()
