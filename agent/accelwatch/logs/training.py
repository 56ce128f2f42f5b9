"""Reads training logs and plog files, line by line."""

from __future__ import annotations

import re

import msgspec

from accelwatch.logs.family import Family, Filter
from accelwatch.logs.hccl import Hccl
from accelwatch.logs.nccl import Nccl
from accelwatch.readings.log_event import LogEvent

# A line of a training log may hold a whole traceback or tensor: the watchdog's own are below 2 KiB.
TEXT_LIMIT = 8192

_RAY = re.compile(r"^\((\w+) pid=(\d{1,12})(?:, ip=[^)]*)?\)")  # Ray names the worker whose line it passes on


class TrainingReader:
    """Turns the lines of one file, in their order, into events. Never raises, whatever the text.

    An event comes at its line, except for records that were wrapped or are tables, of which some lines are waited for:
    `flush` gives these when no more lines are there.
    """

    def __init__(self) -> None:
        self._families: tuple[Family, ...] = (Hccl(), Nccl())
        self.filter = Filter(self._families)
        self.waiting = False  # whether a line without any needle can matter now

    def feed(self, line: str) -> list[LogEvent]:
        """The events of one line, with or without prefixes."""
        text = line[:TEXT_LIMIT]
        families = self.filter.families(text, self.waiting)
        if not families:
            return []
        events = [event for family in families for event in family.feed(text)]
        self.waiting = self.filter.waiting()
        if events and (worker := _RAY.match(text)) is not None:
            events = [msgspec.structs.replace(event, process=worker[1], pid=int(worker[2])) for event in events]
        return events

    def flush(self) -> list[LogEvent]:
        """What was held back for lines that have not come."""
        events = [event for family in self._families for event in family.flush()]
        self.waiting = self.filter.waiting()
        return events
