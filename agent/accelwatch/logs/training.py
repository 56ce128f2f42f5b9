"""Reads training logs and plog files, line by line."""

from __future__ import annotations

from accelwatch.logs.family import Family, filter_of
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
        self._needles = filter_of(self._families)
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether a line without any needle can matter now."""
        return self._waiting

    def feed(self, line: str) -> list[LogEvent]:
        """The events of one line, with or without prefixes."""
        if not self._waiting and self._needles.search(line) is None:
            return []
        text = line[:TEXT_LIMIT]
        events: list[LogEvent] = []
        for family in self._families:
            if family.waiting or any(needle in text for needle in family.needles):
                events += family.feed(text)
        self._waiting = any(family.waiting for family in self._families)
        return events

    def flush(self) -> list[LogEvent]:
        """What was held back for lines that have not come."""
        events = [event for family in self._families for event in family.flush()]
        self._waiting = any(family.waiting for family in self._families)
        return events
