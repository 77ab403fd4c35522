"""A learner that another one leads: it holds no role, reads no stream, and writes nothing."""

from __future__ import annotations

import os
import signal

import structlog
import torch

from agent_core.training.parallel import Ranks
from service.learning.follow import Follower
from service.settings import Settings
from service.workers.learner import NICE, device_of

log = structlog.get_logger(__name__)


def run_follower(settings: Settings) -> None:
    """Follows rank 0 until that stops.

    Raises:
        RankLostError: it is gone; what was learned since the checkpoints is learned again after a new start.
    """
    # All processes are asked to stop at once, but rank 0 has yet to finish what it needs the others for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    torch.set_num_threads(1)
    device = device_of(settings.device)
    ranks = Ranks.joined(device)
    log.info("rank_joined", rank=ranks.rank, ranks=ranks.count, device=str(device))
    Follower(ranks, device).follow()
    ranks.leave()
