"""Serves visitors of the feed by a running service: `python -m examples.auction_recommender.run`.

Start the service first: `nacre up --policies examples/auction_recommender`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from nacre_client import Client

from examples.auction_recommender.environment import Feed


def main() -> None:
    """Prints the clicks per visit, beside those of chance and of whoever takes the likeliest click."""
    options = _options()
    chance = np.random.default_rng(0)
    tell("by chance", alone(lambda feed: int(chance.integers(len(feed.candidates.ids)))))
    tell("the likeliest click", alone(lambda feed: int(feed.click_probabilities().argmax())))
    feed = Feed()
    observed, _ = feed.reset(seed=options.seed)
    with Client(options.url, policy="auction_recommender", timeout_s=30.0) as nacre:
        visits = []
        for _ in range(options.visits):
            visits.append(visit(nacre, feed, observed.tolist()))
            observed, _ = feed.reset()
            if len(visits) % options.every == 0:
                tell(f"visits up to {len(visits)}", visits[-options.every :])


def visit(nacre: Client, feed: Feed, observed: list[float]) -> float:
    """One visit by the service; returns its clicks."""
    total = 0.0
    with nacre.episode() as episode:
        while True:
            decision = episode.act(observed, offered(feed))
            seen, clicked, leaves, is_cut, _ = feed.step(decision.action.index)
            episode.reward(clicked, type="click")
            observed, total = seen.tolist(), total + clicked
            if leaves:
                episode.terminate()
                return total
            if is_cut:
                episode.truncate(observed, offered(feed))
                return total


def offered(feed: Feed) -> list[dict[str, object]]:
    """The candidates of now, as the service takes them."""
    ids, features = feed.candidates
    return [{"id": one, "vector": row} for one, row in zip(ids, features.tolist(), strict=True)]


def alone(choose: Callable[[Feed], int], visits: int = 500) -> list[float]:
    """Clicks of visits served by `choose`, without the service."""
    feed, totals = Feed(), []
    feed.reset(seed=1)
    for _ in range(visits):
        total, is_over = 0.0, False
        while not is_over:
            _, clicked, leaves, is_cut, _ = feed.step(choose(feed))
            total, is_over = total + clicked, leaves or is_cut
        totals.append(total)
        feed.reset()
    return totals


def tell(who: str, totals: list[float]) -> None:
    """One line, with the standard error of the mean."""
    error = np.std(totals, ddof=1) / np.sqrt(len(totals))
    print(f"{who:22} {np.mean(totals):5.2f} clicks a visit, +- {error:.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--visits", type=int, default=2_000)
    parser.add_argument("--every", type=int, default=100, help="visits in one line")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
