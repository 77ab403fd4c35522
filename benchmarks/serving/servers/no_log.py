"""Nacre whose decisions are not written anywhere: the difference to Nacre is the price of the log.

Not an option of the product. The only change: the repository pretends that Redis has
answered at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import torch

from service.app import create_app as create_nacre
from service.decisions.repository import DecisionRepository, NewDecision
from service.front_door import FrontDoor
from service.repository import PolicyKeys
from service.settings import Settings


def _forget(
    repository: DecisionRepository, keys: PolicyKeys, new: NewDecision
) -> asyncio.Future[Any]:
    done = asyncio.get_running_loop().create_future()
    done.set_result([b"new"])
    return done


def create_app() -> FrontDoor:
    torch.set_num_threads(1)
    DecisionRepository.record = _forget  # type: ignore[method-assign,assignment]
    return create_nacre(Settings())
