"""The task and the world around it: images, action sets that never stay the same, imperfect feedback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.datasets import load_digits

_CLASSES: Final = 10
_LABEL_OFFERED: Final = 0.95
_UNSEEN_ID: Final = 0.1

_MEDIAN_DELAY_S: Final = 0.3
_DELAY_SPREAD: Final = 1.0
_LONGEST_DELAY_S: Final = 4.0
_NEVER: Final = 0.08
_TWICE: Final = 0.05
_TOO_LATE: Final = 0.01
_TOO_LATE_S: Final = 6.5
"""Beyond the policy's `wait_s` of 5 seconds, with room for a busy machine."""


@dataclass(frozen=True, slots=True)
class Task:
    """One request: an image of 64 pixels in [0, 1], the offered labels, the right one.

    `reports_s`: when the reward is reported, in seconds after the answer: mostly once, sometimes never
    or twice.
    """

    image: Sequence[float]
    actions: Sequence[str]
    label: str
    reports_s: Sequence[float]

    def reward(self, action_id: str) -> float:
        return float(action_id == self.label)

    @property
    def best(self) -> float:
        """The highest reward that any action can bring."""
        return float(self.label in self.actions)

    @property
    def uniform(self) -> float:
        """The exact expectation of uniform play."""
        return self.best / len(self.actions)


def make_tasks(count: int, seed: int) -> list[Task]:
    """The same tasks for the same seed."""
    generator = np.random.default_rng(seed)
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).tolist()
    chosen = generator.integers(len(images), size=count)
    return [
        Task(
            images[at],
            _actions(generator, int(labels[at]), number),
            str(labels[at]),
            _reports(generator),
        )
        for number, at in enumerate(chosen)
    ]


def _actions(generator: np.random.Generator, label: int, number: int) -> list[str]:
    """2 to 10 of the ten classes, shuffled; the label is usually among them, a new id now and then."""
    size = int(generator.integers(2, _CLASSES + 1))
    others = [int(one) for one in generator.permutation(_CLASSES) if one != label]
    is_offered = size == _CLASSES or generator.random() < _LABEL_OFFERED
    classes = [label, *others[: size - 1]] if is_offered else others[:size]
    ids = [str(one) for one in classes]
    if generator.random() < _UNSEEN_ID:
        ids.append(f"new-{number}")
    return [ids[at] for at in generator.permutation(len(ids))]


def _reports(generator: np.random.Generator) -> list[float]:
    fate = generator.random()
    if fate < _NEVER:
        return []
    if fate < _NEVER + _TOO_LATE:
        return [_TOO_LATE_S]
    return [_delay_s(generator) for _ in range(2 if generator.random() < _TWICE else 1)]


def _delay_s(generator: np.random.Generator) -> float:
    delay = _MEDIAN_DELAY_S * np.exp(_DELAY_SPREAD * generator.standard_normal())
    return float(min(delay, _LONGEST_DELAY_S))
