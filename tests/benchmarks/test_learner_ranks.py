"""The measurement of two processes beside one, without the second."""

from __future__ import annotations

import msgspec

from benchmarks.learner import ranks


def test_a_training_makes_its_block_of_updates_again_and_again() -> None:
    training = ranks._Training(8, None)

    before = training._learner.updates
    seconds = training.seconds()

    assert seconds > 0
    assert training._learner.updates - before == ranks._UPDATES


def test_the_committed_result_names_every_size_and_the_machine() -> None:
    found = msgspec.json.decode(ranks._RESULT.read_bytes(), type=ranks.Crossover)

    assert tuple(found.over_one) == ranks._UNITS
    assert found.machine.cores > 0
