"""When a source is due, by a clock that never steps: a wall clock that is set and a suspend change nothing."""

from __future__ import annotations

import random

# Share of the interval by which each time is moved at random, besides the phase.
JITTER = 0.05


class Timetable:
    """Times every `interval` seconds, at a phase of its own, so that sources and nodes do not all begin at once."""

    def __init__(self, interval: float, now: float, chance: random.Random) -> None:
        self._chance = chance
        self.restart(interval, now)

    def restart(self, interval: float, now: float) -> None:
        """With another interval and phase: the first time comes after half of it at least."""
        self._interval = interval
        self._time = now + interval * (0.5 + self._chance.random() / 2)
        self.due = self._moved()

    def pass_by(self, now: float) -> int:
        """Goes on to the first time after `now`; gives how many were passed by."""
        passed = 0
        while self.due <= now:
            self._time += self._interval
            self.due = self._moved()
            passed += 1
        return passed

    def _moved(self) -> float:
        return self._time + self._interval * self._chance.uniform(-JITTER, JITTER)
