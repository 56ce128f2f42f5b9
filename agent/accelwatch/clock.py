"""The clock that is passed in wherever time matters, so that tests and replays never wait."""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

# Slewing moves a wall clock by 500 ppm at most (adjtimex(2)), 30 ms a minute: what moved by more was set, or the host
# was asleep.
STEP_SECONDS = 0.5


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


class Kept(msgspec.Struct, frozen=True):
    """What the journal keeps so that steady time goes on after a restart or a reboot."""

    boot_id: str
    offset: float  # steady minus monotonic seconds, valid in that boot
    steady: float  # when it was kept
    wall: float


class SteadyClock:
    """Seconds that never step and never begin anew: the monotonic clock, carried on over reboots of the host.

    Episodes, windows and detector states are measured in it, so neither a clock step nor a reboot reorders them.
    Over a reboot the wall clock says how long the host was down; when that went backwards, no time has passed.
    """

    def __init__(self, clock: Clock, boot_id: str, kept: Kept | None = None) -> None:
        self._clock = clock
        self._boot_id = boot_id
        monotonic = clock.monotonic()
        if kept is None:
            self.offset = 0.0
        elif kept.boot_id == boot_id and monotonic + kept.offset >= kept.steady:
            self.offset = kept.offset
        else:
            self.offset = kept.steady + max(0.0, clock.time() - kept.wall) - monotonic

    def now(self) -> float:
        """Steady seconds."""
        return self._clock.monotonic() + self.offset

    def monotonic(self) -> float:
        """Of the clock that it stands on."""
        return self._clock.monotonic()

    def time(self) -> float:
        """Seconds since the epoch (UTC); may step."""
        return self._clock.time()

    def wall_of(self, steady: float) -> float:
        """The wall time of a moment in steady seconds, by the present wall clock."""
        return self._clock.time() - (self.now() - steady)

    def keep(self) -> Kept:
        """What to write with the next commit."""
        return Kept(self._boot_id, self.offset, self.now(), self._clock.time())
