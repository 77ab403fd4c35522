"""Where products go: only where they are exact enough, and back again afterwards."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest
import torch

from agent_core.training.engine.routing import DEFAULT, probe, routed, routes


def _setting() -> str:
    backend: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    return str(backend.fp32_precision)


def test_the_setting_is_put_back() -> None:
    before = _setting()

    with routed("bf16"):
        inside = _setting()

    assert inside == "bf16"
    assert _setting() == before


def test_the_setting_is_put_back_after_an_error() -> None:
    before = _setting()

    with pytest.raises(ZeroDivisionError), routed("bf16"):
        raise ZeroDivisionError

    assert _setting() == before


def test_two_threads_do_not_meet_each_others_setting() -> None:
    before, is_inside, may_leave, seen = _setting(), Event(), Event(), []

    def other() -> None:
        with routed("bf16"):
            is_inside.set()
            may_leave.wait(0.1)

    thread = Thread(target=other)
    thread.start()
    is_inside.wait()
    with routed(DEFAULT):
        may_leave.set()
        thread.join(0.1)
        seen.append(_setting())
    thread.join()

    assert seen == [DEFAULT]
    assert _setting() == before


def test_a_probe_knows_how_far_a_product_is_off() -> None:
    found = probe(DEFAULT)

    # 64 products of about 1, each within a rounding of 2^-24 of its partial sum.
    assert 0 < found.error < 1e-4
    assert found.seconds > 0


def test_the_other_route_is_offered_only_where_its_error_is_that_of_float32() -> None:
    usual, other = probe(DEFAULT), probe("bf16")

    found = routes("full")

    assert found == ([DEFAULT, "bf16"] if other.error < 3 * usual.error else [DEFAULT])


def test_rounded_products_are_tried_where_they_are_asked_for() -> None:
    assert routes("bf16") == [DEFAULT, "bf16"]
