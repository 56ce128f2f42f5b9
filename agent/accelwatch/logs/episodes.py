"""What a scan found, as one entry per device, native code and episode (design.md, `accelwatch scan`)."""

from __future__ import annotations

from accelwatch.logs.scanner import Found
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import Taxonomy
from accelwatch.taxonomy.model import Kind, Meaning

# As in the agent: a sign within this much of the last one belongs to the same episode.
EPISODE_SECONDS = 60.0
# A link that went down this shortly before its driver unloaded went down because of that.
UNLOAD_SECONDS = 120.0
# A log of months of a sick node; what is more is counted, not kept.
EPISODES_LIMIT = 20_000


class Entry:
    """One episode. `event` is its first line, or the last that carries the driver's verdict on what to do."""

    __slots__ = (
        "came_up", "count", "event", "first", "last", "line", "meaning", "number", "pid", "process", "rank", "seconds",
        "severity",
    )  # fmt: skip

    def __init__(self, found: Found, event: LogEvent, meaning: Meaning) -> None:
        self.event = event
        self.meaning = meaning
        self.severity = meaning.severity
        self.count = 0
        self.line = found.line
        self.first: float | None = None  # seconds since the epoch
        self.last: float | None = None
        self.seconds: float | None = None  # of its last line, since boot
        self.pid = event.pid
        self.process = event.process
        self.rank = event.rank
        self.number = event.number
        self.came_up = False  # of a link
        self.add(found, event, meaning)

    def add(self, found: Found, event: LogEvent, meaning: Meaning) -> None:
        """One more line of it. What the first line left open, a later one tells."""
        self.count += 1
        if meaning.severity.weight > self.severity.weight:
            self.severity = meaning.severity
        if found.wall is not None:
            self.first = found.wall if self.first is None else min(self.first, found.wall)
            self.last = found.wall if self.last is None else max(self.last, found.wall)
        if found.seconds is not None:
            self.seconds = found.seconds
        if event.action is not None:
            self.event = event
        if self.pid is None:
            self.pid, self.process = event.pid, event.process or self.process
        self.rank = event.rank if self.rank is None else self.rank
        self.number = event.number if self.number is None else self.number

    def apart(self, found: Found) -> float:
        """Seconds between its last line and this one; 0 where one of them has no time."""
        if self.last is not None and found.wall is not None:
            return abs(found.wall - self.last)
        if self.seconds is not None and found.seconds is not None:
            return abs(found.seconds - self.seconds)
        return 0.0

    @property
    def ends_runs(self) -> bool:
        """A run-ending fault of hardware or infrastructure, not an echo of one."""
        echo = self.meaning.code is not None and self.meaning.code.echo
        return self.severity is Severity.RUN_ENDING and self.meaning.class_.kind is Kind.CAUSE and not echo


class Episodes:
    """Takes what scans find, in the order of the log. Each file has its own episodes."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._entries: dict[int, Entry] = {}
        self._newest: dict[tuple[str, ...], int] = {}
        self._meanings: dict[tuple[str, str | None, Severity | None], Meaning] = {}
        self._made = 0
        self.dropped = 0  # events that would have opened one more than the limit

    @property
    def entries(self) -> list[Entry]:
        """In the order of the log."""
        return list(self._entries.values())

    def add(self, found: Found) -> None:
        """One more event. One that only says that a condition ended opens nothing."""
        if found.unloaded is not None:
            self._forgive_links(found, found.unloaded)
        event = found.event
        if event is None or event.cleared:
            return
        kind = (event.kind, event.code, event.severity)
        meaning = self._meanings.get(kind) or self._meanings.setdefault(kind, self._taxonomy.meaning_of(event))
        if event.kind == "mlx5_link_up":
            for entry in self._links_down(event.pci):
                entry.came_up = True
        if meaning.code is not None and meaning.code.ignore:
            return
        line = self._replaced(event) if event.refines is not None else None
        key = _key(event, event.code or event.kind)
        entry_now = self._entries.get(self._newest.get(key, 0))
        if entry_now is not None and entry_now.apart(found) <= EPISODE_SECONDS:
            entry_now.add(found, event, meaning)
        elif len(self._entries) >= EPISODES_LIMIT:
            self.dropped += 1
        else:
            self._made += 1
            self._entries[self._made] = Entry(found if line is None else found._replace(line=line), event, meaning)
            self._newest[key] = self._made

    def _replaced(self, event: LogEvent) -> int | None:
        """The same record counts once, as what is known of it now: where it begins, if it stood alone."""
        number = self._newest.get(_key(event, event.refines or ""), 0)
        entry = self._entries.get(number)
        if entry is None:
            return None
        entry.count -= 1
        if entry.count > 0:
            return None
        del self._entries[number]
        return entry.line

    def _links_down(self, pci: str | None) -> list[Entry]:
        numbers = [number for key, number in self._newest.items() if key[1] == "mlx5_link_down"]
        entries = [self._entries[number] for number in numbers if number in self._entries]
        return [entry for entry in entries if entry.event.pci == pci]

    def _forgive_links(self, found: Found, card: str) -> None:
        for entry in self._links_down(card):
            if not entry.came_up and entry.apart(found) <= UNLOAD_SECONDS:
                number = next(number for number, other in self._entries.items() if other is entry)
                del self._entries[number]


def _key(event: LogEvent, code: str) -> tuple[str, ...]:
    """File, code, and the device; where a line names none, the process, by what the family always tells."""
    if event.pci is not None:
        device = event.pci
    elif event.kind.startswith("hccl"):
        device = f"pid {event.pid}"
    elif event.number is not None:
        device = str(event.number)
    elif event.rank is not None:
        device = f"rank {event.rank}"
    else:
        device = f"pid {event.pid}"
    return event.file or "", code, device
