"""When a record of the kernel log was written."""

from __future__ import annotations

from accelwatch.clock import SteadyClock
from accelwatch.readings.kernel import KernelRecords


class KernelTimes:
    """Live records are of now. A backlog is dated by the kernel's own seconds.

    `shared`: those seconds are this host's monotonic clock, as in /dev/kmsg; a file or FIFO of records has a time of
    its own, of which only differences are good.
    """

    def __init__(self, clock: SteadyClock, shared: bool) -> None:
        self._clock = clock
        self._shared = shared

    def of(self, records: KernelRecords) -> list[tuple[float, float]]:
        """(steady seconds, seconds since the epoch) of each record."""
        now, wall = self._clock.now(), self._clock.time()
        if not records.backlog or not records.records:
            return [(now, wall)] * len(records.records)
        newest = max(record.seconds for record in records.records)
        base = now - self._clock.offset if self._shared else newest
        # Suspend stops the kernel's clock: a record can seem younger than it is, never newer than now.
        ages = [max(0.0, base - record.seconds) for record in records.records]
        return [(now - age, wall - age) for age in ages]
