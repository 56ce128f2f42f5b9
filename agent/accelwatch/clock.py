"""The clock that is passed in wherever time matters, so that tests and replays never wait."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds for deadlines and detectors, wall seconds for what is stored or shown."""

    def monotonic(self) -> float:
        """Seconds of a clock that never steps."""
        ...

    def time(self) -> float:
        """Seconds since the epoch (UTC); may step."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """`CLOCK_MONOTONIC` in seconds."""
        return time.monotonic()

    def time(self) -> float:
        """`CLOCK_REALTIME` in seconds."""
        return time.time()
