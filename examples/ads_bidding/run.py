"""Bids by a running service: `python -m examples.ads_bidding.run`.

Start the service first: `nacre up --policies examples/ads_bidding`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nacre_client import Client

from examples.ads_bidding.environment import (
    HIGHEST_MULTIPLIER,
    HOURS,
    AuctionDay,
    Floats,
    read_prices,
)

OFFLINE, ONLINE = "ads_bidding_offline", "ads_bidding"
RULE: float = 0.44
"""The rule that bid before. Of all fixed multipliers the one that spends the budget of a simulated day."""
_RULE_NOISE: float = 0.2
_OFFLINE_UPDATES = 3_000

Bidder = Callable[[Floats], float]


class Hour(NamedTuple):
    """One step of a day. `follows`: what was observed after it, which is the next morning where the day `is_cut`."""

    observed: Floats
    bid: float
    value: float
    cost: float
    follows: Floats
    is_cut: bool


class Day(NamedTuple):
    """What was won and spent in a day."""

    value: float
    cost: float


def main() -> None:
    """Prints value and money of each phase: the rule, what was learned from its log, what learns by itself."""
    options = _options()
    market = AuctionDay(None if options.prices is None else read_prices(options.prices))
    market.reset(seed=options.seed)
    with Client(options.url, timeout_s=60.0) as nacre:
        tell("the rule", [total(day(market, lambda _: RULE)) for _ in range(100)])
        logged = log(market, options.log_days, np.random.default_rng(options.seed))
        tell("the rule with noise, the log", [total(hours) for hours in logged])
        send_log(nacre, logged)
        learn_offline(nacre)
        alone = [total(day(market, offline_bidder(nacre, explore=False))) for _ in range(60)]
        tell("learned from the log alone", alone)
        watched = [apprentice_day(nacre, market) for _ in range(options.watched_days)]
        tell("the same with exploration", watched)
        days = []
        for number in range(options.days):
            let_the_learner_follow(nacre, HOURS * (options.watched_days + number))
            days.append(own_day(nacre, market))
            if len(days) % options.every == 0:
                tell(f"by itself, days up to {len(days)}", days[-options.every :])


# -- days ---------------------------------------------------------------------------------------


def day(market: AuctionDay, bidder: Bidder) -> Iterator[Hour]:
    """A day of the market, hour by hour."""
    observed, _ = market.reset()
    is_cut = False
    while not is_cut:
        bid = bidder(observed)
        follows, value, _, is_cut, info = market.step(np.array([bid], np.float32))
        yield Hour(observed, bid, value, info["cost"], follows, is_cut)
        observed = follows


def offline_bidder(nacre: Client, *, explore: bool) -> Bidder:
    """Bids as learned from the log. Its decisions are never activated: it is to learn from the log alone."""

    def bid(observed: Floats) -> float:
        decision = nacre.act(observed, policy=OFFLINE, explore=explore, defer_activation=True)
        return float(decision.action.value[0])

    return bid


def apprentice_day(nacre: Client, market: AuctionDay) -> Day:
    """The offline policy bids, and the online policy watches: its answer is the bid that it is given."""
    offline, hours = offline_bidder(nacre, explore=True), []
    with nacre.episode(policy=ONLINE) as episode:

        def bid(observed: Floats) -> float:
            chosen = offline(observed)
            episode.act(observed, mode="apprentice", baseline_action=[chosen])
            return chosen

        for hour in day(market, bid):
            episode.reward(hour.value, cost=hour.cost)
            hours.append(hour)
        episode.truncate(hours[-1].follows)
    return total(hours)


def own_day(nacre: Client, market: AuctionDay) -> Day:
    """The online policy bids, and learns from it."""
    hours = []
    with nacre.episode(policy=ONLINE) as episode:
        for hour in day(market, lambda observed: float(episode.act(observed).action.value[0])):
            episode.reward(hour.value, cost=hour.cost)
            hours.append(hour)
        episode.truncate(hours[-1].follows)
    return total(hours)


def let_the_learner_follow(nacre: Client, hours: int) -> None:
    """Waits until of the `hours` played all but those of five days are learned from: days pass too fast here."""
    while hours - nacre.versions(ONLINE)[-1].description["experience"] > 5 * HOURS:
        time.sleep(0.1)


def total(hours: Iterator[Hour] | list[Hour]) -> Day:
    """Value and money of all `hours`."""
    pairs = [(hour.value, hour.cost) for hour in hours]
    return Day(sum(value for value, _ in pairs), sum(cost for _, cost in pairs))


# -- the log ------------------------------------------------------------------------------------


def log(market: AuctionDay, days: int, chance: np.random.Generator) -> list[list[Hour]]:
    """Days of the rule with noise: without noise nothing could be learned about other bids."""

    def bid(_: Floats) -> float:
        return float(np.clip(RULE + chance.normal(0.0, _RULE_NOISE), 0.0, HIGHEST_MULTIPLIER))

    return [list(day(market, bid)) for _ in range(days)]


def send_log(nacre: Client, logged: list[list[Hour]]) -> None:
    """Each hour as a transition of another system. Its density was not logged, and is left out."""
    for number, hours in enumerate(logged):
        for step, hour in enumerate(hours):
            nacre.observe_transition(
                policy=OFFLINE,
                behavior_policy="rule",
                episode_id=f"day-{number}",
                step=step,
                observation=hour.observed,
                action=[hour.bid],
                reward=hour.value,
                cost=hour.cost,
                next_observation=hour.follows,
                truncated=hour.is_cut,
            )


def learn_offline(nacre: Client) -> None:
    """Learns from the log, and serves what came of it."""
    job = nacre.learn(policy=OFFLINE, max_steps=_OFFLINE_UPDATES, promote="live")
    state = job.wait(timeout_s=300.0)
    print(f"{_OFFLINE_UPDATES} updates on the log: {state.status}")


def tell(who: str, days: list[Day]) -> None:
    """One line, with the standard error of the mean value."""
    values, costs = np.array(days).T
    error = values.std(ddof=1) / np.sqrt(len(values))
    print(f"{who:32} value {values.mean():6.1f} +- {error:.1f}, money {costs.mean():5.1f} a day")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--prices", type=Path, help="a CSV file with a column PayingPrice")
    parser.add_argument("--log-days", type=int, default=200)
    parser.add_argument("--watched-days", type=int, default=60)
    parser.add_argument("--days", type=int, default=600)
    parser.add_argument("--every", type=int, default=100, help="days in one line")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
