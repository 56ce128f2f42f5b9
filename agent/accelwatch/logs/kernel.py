"""Reads the kernel log, message by message."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from accelwatch.logs.aer import Aer
from accelwatch.logs.ascend_driver import AscendDriver
from accelwatch.logs.family import PCI, Family, Filter, address
from accelwatch.logs.gpu_lines import GpuLines
from accelwatch.logs.gpus import Gpus
from accelwatch.logs.host import Host
from accelwatch.logs.hung_task import HungTasks
from accelwatch.logs.memory_errors import HardwareErrors
from accelwatch.logs.mlx5 import Mlx5
from accelwatch.logs.sxid import Switches
from accelwatch.logs.xid import Xids
from accelwatch.readings.log_event import LogEvent

# The kernel's own records have 1 KiB of text; what is longer in a saved log is cut, so that no line takes long.
TEXT_LIMIT = 4096

_DEVICE = re.compile(rf"\+pci:{PCI}")


class KernelReader:
    """Turns messages, in their order and without prefixes, into events.

    An event comes at the line that carries it, so that nothing waits for a line that may never come. A task that hangs
    gives `hung_task`, and once more the exact kind when its stack tells. Never raises, whatever the text.
    """

    def __init__(self) -> None:
        gpus = Gpus()
        self._families: tuple[Family, ...] = (
            Xids(gpus), GpuLines(gpus), Switches(),
            Aer(), HardwareErrors(), HungTasks(), Mlx5(), Host(), AscendDriver(),
        )  # fmt: skip
        self.filter = Filter(self._families)
        self.waiting = False  # whether a line without any needle can matter now

    def feed(self, text: str, details: Mapping[str, str] | None = None) -> list[LogEvent]:
        """The events of one message; `details` are its record's continuation lines (DEVICE=+pci:0000:3b:00.0)."""
        events: list[LogEvent] = []
        for line in _lines(text[:TEXT_LIMIT]):
            families = self.filter.families(line, self.waiting)
            for family in families:
                events += family.feed(line)
            if families:
                self.waiting = self.filter.waiting()
        if details and events and (match := _DEVICE.match(details.get("DEVICE", ""))) is not None:
            pci = address(match[1], match[2], match[3])
            events = [msgspec.structs.replace(event, pci=event.pci or pci) for event in events]
        return events

    def flush(self) -> list[LogEvent]:
        """At the end of a log: what was held back."""
        events = [event for family in self._families for event in family.flush()]
        self.waiting = self.filter.waiting()
        return events


def _lines(text: str) -> list[str]:
    """A record of the kernel can hold newlines, which rsyslog writes as #012."""
    if "#012" in text:
        text = text.replace("#012", "\n")
    return text.split("\n") if "\n" in text else [text]
