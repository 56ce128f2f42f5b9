"""What one transaction of the journal writes, and what waits in memory until it can."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from accelwatch.clock import Kept
from accelwatch.faults.episode import Episode
from accelwatch.journal.rows import CounterRow, DeviceRow
from accelwatch.readings.identity import DeviceKey
from accelwatch.remediation.record import Remediation
from accelwatch.runs.model import RunRecord

# Of a journal that is begun anew the latest decisions are told; a second command for an old fault must not follow.
REMEDIATIONS_KEPT = 500


class Changes(msgspec.Struct, kw_only=True):
    """All of it is on disk after the commit, or none of it. `forget` comes first: a device may be learned anew."""

    devices: list[DeviceRow] = []
    counters: list[CounterRow] = []
    links: list[tuple[str, str]] = []  # (owner, link) of ports that were seen up
    episodes: list[Episode] = []  # the row of the same id is replaced
    runs: list[RunRecord] = []  # the row of the same (run_id, attempt) is replaced
    states: dict[str, bytes] = {}  # detector or tracker: its state as JSON
    cursors: dict[str, str] = {}  # source: where it stands, in its own words
    clock: Kept | None = None
    forget: list[DeviceKey] = []  # taken out of the inventory by an operator
    remediations: list[Remediation] = []  # the row of the same id is replaced

    @property
    def empty(self) -> bool:
        """Nothing is to be written. The clock alone is not worth a commit."""
        return not (
            self.devices
            or self.counters
            or self.links
            or self.episodes
            or self.runs
            or self.states
            or self.cursors
            or self.forget
            or self.remediations
        )

    def merge(self, newer: Changes) -> Changes:
        """Both, as one transaction; of two rows with one key the newer stands."""
        pending = Pending()
        pending.add(self)
        pending.add(newer)
        return pending.changes()

    def parts(self) -> Iterator[Changes]:
        """The same in pieces, of which one that cannot be written costs no other."""
        yield Changes(forget=self.forget, clock=self.clock)
        yield from (Changes(devices=[row]) for row in self.devices)
        yield from (Changes(counters=[row]) for row in self.counters)
        yield from (Changes(links=[link]) for link in self.links)
        yield from (Changes(episodes=[episode]) for episode in self.episodes)
        yield from (Changes(runs=[run]) for run in self.runs)
        yield from (Changes(remediations=[row]) for row in self.remediations)
        yield from (Changes(states={name: state}) for name, state in self.states.items())
        yield from (Changes(cursors={source: cursor}) for source, cursor in self.cursors.items())


class Pending:
    """Changes by their keys: what waits for the disk, at the price of one row per key."""

    def __init__(self) -> None:
        self._devices: dict[DeviceKey, DeviceRow] = {}
        self._counters: dict[tuple[str, str, str], CounterRow] = {}
        self._links: dict[tuple[str, str], None] = {}
        self.episodes: dict[int, Episode] = {}
        self.runs: dict[tuple[str, str], RunRecord] = {}
        self._states: dict[str, bytes] = {}
        self._cursors: dict[str, str] = {}
        self._clock: Kept | None = None
        self._forget: dict[DeviceKey, None] = {}
        self._remediations: dict[int, Remediation] = {}

    def add(self, newer: Changes) -> None:
        """Takes changes over those that are here."""
        for key in newer.forget:
            self._forget[key] = None
            self._devices.pop(key, None)
        self._devices.update((row.identity.key, row) for row in newer.devices)
        self._counters.update(((row.owner, row.name, row.labels), row) for row in newer.counters)
        self._links.update(dict.fromkeys(newer.links))
        self.episodes.update((episode.id, episode) for episode in newer.episodes)
        self.runs.update(((run.run_id, run.attempt), run) for run in newer.runs)
        self._states.update(newer.states)
        self._cursors.update(newer.cursors)
        self._clock = newer.clock or self._clock
        self._remediations.update((row.id, row) for row in newer.remediations)

    def changes(self) -> Changes:
        """All that is here."""
        return Changes(
            devices=list(self._devices.values()),
            counters=list(self._counters.values()),
            links=list(self._links),
            episodes=list(self.episodes.values()),
            runs=list(self.runs.values()),
            states=dict(self._states),
            cursors=dict(self._cursors),
            clock=self._clock,
            forget=list(self._forget),
            remediations=list(self._remediations.values()),
        )

    def drop_over(self, changes: Changes) -> None:
        """Lets go of episodes that `changes` cleared and of runs that it ended."""
        for episode in changes.episodes:
            if not episode.active:
                self.episodes.pop(episode.id, None)
        for run in changes.runs:
            if run.ended is not None:
                self.runs.pop((run.run_id, run.attempt), None)
        for number in sorted(self._remediations)[:-REMEDIATIONS_KEPT]:
            del self._remediations[number]

    def drop_cleared_episodes(self, limit: int) -> int:
        """Holds at most about `limit` episodes: the oldest cleared ones go, a tenth at a time. Gives how many went."""
        excess = len(self.episodes) - limit
        if excess <= 0:
            return 0
        cleared = sorted((e.last_wall, e.id) for e in self.episodes.values() if not e.active)
        gone = cleared[: max(excess, limit // 10)]
        for _, number in gone:
            del self.episodes[number]
        return len(gone)
