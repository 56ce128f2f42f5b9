"""Lines of a log that say the same in one breath."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from accelwatch.readings.log_event import Entry, LogEvent

# One fault prints its line for every channel or unit that it hits, within moments (reference/nvidia.md section 6:
# "a few seconds"); what comes later is left to the episodes.
BURST_SECONDS = 5.0
# Lines of these kinds are of the process that they name; other faults hit whoever is there.
BY_PROCESS = frozenset(("hung_task", "hung_task_driver", "hung_task_storage", "oom_kill", "segfault"))


class Burst(msgspec.Struct):
    """At least one entry, in the order of the log."""

    entries: list[Entry]

    @property
    def first(self) -> Entry:
        """The one that came first."""
        return self.entries[0]

    @property
    def most_telling(self) -> LogEvent:
        """The first that names a process, else the first."""
        return next((entry.event for entry in self.entries if entry.event.pid is not None), self.entries[0].event)


def bursts(entries: Iterable[Entry]) -> list[Burst]:
    """Entries of the same kind, code and place together, while they are close in time; in order of their beginning."""
    found: list[Burst] = []
    latest: dict[tuple[object, ...], Burst] = {}
    for entry in entries:
        event = entry.event
        where = (event.pci, event.number, event.link, event.rank, event.pid if event.kind in BY_PROCESS else None)
        key = (event.kind, event.code, *where, event.cleared, entry.historical)
        burst = latest.get(key)
        if burst is None or abs(entry.at - burst.first.at) > BURST_SECONDS:
            burst = latest[key] = Burst([])
            found.append(burst)
        burst.entries.append(entry)
    return found
