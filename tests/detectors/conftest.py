"""Detectors fed by hand, each of them replayed when its test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from accelwatch.detectors.base import Context, Detector
from detectors.replaying import Fed


@pytest.fixture
def fed() -> Iterator[Callable[..., Fed]]:
    """Makes a `Fed`."""
    made: list[Fed] = []

    def make(detector: Detector, context: Context | None = None) -> Fed:
        made.append(Fed(detector, context))
        return made[-1]

    yield make
    for one in made:
        one.replayed()
