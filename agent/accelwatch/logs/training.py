"""Reads training logs and plog files, line by line."""

from __future__ import annotations

from accelwatch.logs.family import Family, Filter
from accelwatch.logs.hccl import Hccl
from accelwatch.logs.nccl import Nccl
from accelwatch.readings.log_event import LogEvent

# A line of a training log may hold a whole traceback or tensor: the watchdog's own are below 2 KiB.
TEXT_LIMIT = 16384


class TrainingReader:
    """Turns the lines of one file, in their order, into events. Never raises, whatever the text.

    An event comes at its line, except for records that were wrapped or are tables, of which some lines are waited for:
    `flush` gives these when no more lines are there.
    """

    def __init__(self) -> None:
        self._families: tuple[Family, ...] = (Hccl(), Nccl())
        self._filter = Filter(self._families)
        self.needles = self._filter.pattern

    @property
    def waiting(self) -> bool:
        """Whether a line without any needle can matter now."""
        return self._filter.waiting

    def feed(self, line: str) -> list[LogEvent]:
        """The events of one line, with or without prefixes."""
        text = line[:TEXT_LIMIT]
        return [event for family in self._filter.families(text) for event in family.feed(text)]

    def flush(self) -> list[LogEvent]:
        """What was held back for lines that have not come."""
        return [event for family in self._families for event in family.flush()]
