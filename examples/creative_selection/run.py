"""Plays the market against a running service: `python -m examples.creative_selection.run`.

Start the service first: `nacre up --policies examples/creative_selection`.
"""

from __future__ import annotations

import argparse

import numpy as np
from nacre_client import Client

from examples.creative_selection.environment import CreativeSelection


def main() -> None:
    """Decides, shows, reports the click; prints how far the clicks are between chance and the best possible."""
    options = _options()
    market = CreativeSelection()
    clicks, chance, best = [], [], []
    with Client(options.url, policy="creative_selection", timeout_s=30.0) as nacre:
        for number in range(options.decisions):
            content, info = market.reset(seed=options.seed if number == 0 else None)
            probabilities = market.click_probabilities()
            candidates = [
                {"id": f"creative-{one}", "vector": market.creatives[one].tolist()}
                for one in info["available_actions"]
            ]
            decision = nacre.act(content.tolist(), candidates)
            shown = info["available_actions"][decision.action.index]
            clicked = market.step(shown)[1]
            nacre.observe(decision.decision_id, clicked, type="click", final=True)
            clicks.append(probabilities[decision.action.index])
            chance.append(probabilities.mean())
            best.append(probabilities.max())
            if (number + 1) % options.every == 0:
                tell(
                    number + 1, *(np.mean(one[-options.every :]) for one in (clicks, chance, best))
                )


def tell(decisions: int, clicks: np.floating, chance: np.floating, best: np.floating) -> None:
    """One line. The probabilities of clicks are compared: less noisy than the clicks, which alone are learned from."""
    share = (clicks - chance) / (best - chance)
    print(
        f"{decisions:6} decisions: clicks {clicks:.3f}, by chance {chance:.3f}, at best {best:.3f}:"
        f" {share:4.0%} of the way"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--decisions", type=int, default=8_000)
    parser.add_argument("--every", type=int, default=1_000, help="decisions in one line")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
