"""How much to bid, hour by hour, for the impressions of a day? A made-up advertiser in second-price auctions.

Every hour some impressions are auctioned. For each there is an estimate of its value; the bid is that estimate times
a multiplier, the same for the whole hour. Who bids more than the rest of the market wins, and pays what the
market would have paid. The estimates are wrong in a way that depends on the hour, and people who just saw many
ads are worth less: no one multiplier is right for the whole day.
"""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Floats = npt.NDArray[np.float32]
Prices = npt.NDArray[np.float64]

HOURS: Final = 24
OBSERVATION_DIM: Final = 5
HIGHEST_MULTIPLIER: Final = 1.0
DAY_BUDGET: Final = 24.0
"""The unit of money: a twenty-fourth of the budget of a day."""
_AUCTIONS: Final = 50
_MEAN_PRICE: Final = 0.2
_MEAN_ESTIMATE: Final = 0.2
_PRICE_SPREAD: Final = 1.0
"""Of the logarithm."""
_ESTIMATE_SPREAD: Final = 0.5
_DAY_SPREAD: Final = 0.25
_TIRED_AT_MOST: Final = 0.4
_RECOVERY: Final = 0.5
_FARTHEST: Final = 10.0
"""Beyond it an observation is cut off: a single price may be a hundred times the mean."""


def simulated_prices(count: int = 100_000) -> Prices:
    """`[count]`: log-normal, with the mean 1."""
    normals = np.random.default_rng(0).normal(size=count)
    prices: Prices = np.exp(_PRICE_SPREAD * normals - _PRICE_SPREAD**2 / 2)
    return prices


def read_prices(path: Path) -> Prices:
    """`[N]`: the column `PayingPrice` of a CSV file (of iPinYou's logs, say), over its mean; may be packed by gzip.

    Raises:
        ValueError: there is no such column, no price, or one that is not above 0.
    """
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        rows = csv.DictReader(lines)
        if "PayingPrice" not in (rows.fieldnames or ()):
            raise ValueError(f"{path} has no column `PayingPrice`; name it so in the first line")
        prices = np.array([_number(row["PayingPrice"]) for row in rows])
    if not len(prices):
        raise ValueError(f"{path} has no prices; add a line for each")
    if not (np.isfinite(prices) & (prices > 0)).all():
        at = int(np.argmin(np.isfinite(prices) & (prices > 0)))
        raise ValueError(f"price {at + 1} in {path} is not a number above 0; remove its line")
    shares: Prices = prices / prices.mean()
    return shares


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


class AuctionDay(gymnasium.Env[Floats, Floats]):
    """Observes `[5]`: what is left of the day, what is left of its budget (both 1 in the morning), the share of auctions
    won in the last hour, the mean price paid for one, and the mean estimate of the impressions to come (both
    over what is usual). An action is the multiplier, `[1]`, 0 to 1. Rewards are the value of what was won,
    `info["cost"]` is the money paid for it.

    Nobody stops who spends more than the budget. A day is cut after 24 hours, never terminated: what is observed
    then is the next morning.

    `prices`: what the rest of the market pays, with the mean 1; drawn from with repetition, and dearer in the
    evening and on some days.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self.observation_space = spaces.Box(-_FARTHEST, _FARTHEST, (OBSERVATION_DIM,), np.float32)
        self.action_space = spaces.Box(0.0, HIGHEST_MULTIPLIER, (1,), np.float32)
        self._prices = simulated_prices() if prices is None else prices
        self._hour = 0
        self._spent = self._tired = self._won = self._paid = 0.0
        self._dearness = 1.0
        self._estimates = np.zeros(_AUCTIONS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._begin_day()
        return self._observation(), {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        market = self.np_random.choice(self._prices, _AUCTIONS)
        market *= _MEAN_PRICE * self._dearness * dearness_of(self._hour)
        is_won = float(action[0]) * self._estimates > market
        cost = float(market[is_won].sum())
        trust = (1.0 - self._tired) * trust_in(self._hour)
        value = trust * float(self._estimates[is_won].sum())
        self._remember(float(is_won.mean()), cost)
        is_cut = self._hour == HOURS
        if is_cut:
            self._begin_day()
        else:
            self._open_hour()
        return self._observation(), value, False, is_cut, {"cost": cost}

    def _remember(self, won: float, cost: float) -> None:
        self._hour += 1
        self._spent += cost
        self._won = won
        self._paid = cost / (won * _AUCTIONS * _MEAN_PRICE) if won else 0.0
        self._tired += (1.0 - _RECOVERY) * (_TIRED_AT_MOST * won - self._tired)

    def _begin_day(self) -> None:
        self._hour = 0
        self._spent = self._tired = self._won = self._paid = 0.0
        self._dearness = math.exp(_DAY_SPREAD * self.np_random.normal() - _DAY_SPREAD**2 / 2)
        self._open_hour()

    def _open_hour(self) -> None:
        level = _MEAN_ESTIMATE * math.exp(0.2 * self.np_random.normal())
        normals = self.np_random.normal(size=_AUCTIONS)
        self._estimates = level * np.exp(_ESTIMATE_SPREAD * normals - _ESTIMATE_SPREAD**2 / 2)

    def _observation(self) -> Floats:
        left, budget = 1.0 - self._hour / HOURS, 1.0 - self._spent / DAY_BUDGET
        estimate = self._estimates.mean() / _MEAN_ESTIMATE
        observed = np.array([left, budget, self._won, self._paid, estimate], np.float32)
        return observed.clip(-_FARTHEST, _FARTHEST)


def dearness_of(hour: int) -> float:
    """The market's prices over their mean of the day: highest at 20 o'clock, lowest at 8."""
    return 1.0 + 0.4 * math.cos(2 * math.pi * (hour - 20) / HOURS)


def trust_in(hour: int) -> float:
    """True value over estimate, of people who are not tired of ads: highest at 14 o'clock, lowest at 2."""
    return math.exp(1.5 * math.cos(2 * math.pi * (hour - 14) / HOURS)) / _MEAN_TRUST


_MEAN_TRUST: Final = 1.647
"""Of the exponential, over the day."""
