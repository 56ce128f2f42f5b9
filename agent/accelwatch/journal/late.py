"""A journal that could neither be read nor written when the agent started, and is there now with rows of its own.

What the agent has counted meanwhile began at 0, its episodes at a number of their own, and its steady time at this
boot; what it goes on to write is brought into line with the file, so that nothing there is overwritten by less. The
next start goes on from both together.
"""

from __future__ import annotations

import msgspec

from accelwatch.clock import Kept
from accelwatch.faults.episode import Episode
from accelwatch.journal.changes import Changes
from accelwatch.journal.loaded import Loaded
from accelwatch.journal.rows import CounterRow, DeviceRow
from accelwatch.readings.identity import DeviceKey
from accelwatch.runs.model import RunRecord

# States of detectors hold steady times inside: with another origin of time they would mislead.
_SAME_TIME_SECONDS = 1.0


class LateJoin:
    """Turns changes of an agent that started without the file into changes for it."""

    def __init__(self, there: Loaded, first_id: int) -> None:
        """`there`: what is in the file; `first_id`: the number that this agent's episodes began with."""
        self._counters = {(row.owner, row.name, row.labels): row for row in there.counters}
        self._added: dict[tuple[str, str, str], float] = {}
        self._devices = {row.identity.key: row for row in there.devices}
        self._labels = {(row.identity.key.vendor, row.label): row.identity.key for row in there.devices}
        self._runs = {(run.run_id, run.attempt): run for run in there.runs}
        self._clock = there.clock
        self._number_shift = max(0, there.next_episode_id - first_id)
        self._shift: float | None = None if there.clock is not None else 0.0

    def join(self, changes: Changes) -> Changes:
        """The same changes, in the file's counts, numbers, labels and time."""
        if self._shift is None and changes.clock is not None and self._clock is not None:
            self._shift = _shift(self._clock, changes.clock)
        shift = self._shift or 0.0
        clock = changes.clock
        return Changes(
            devices=[self._device(row) for row in changes.devices],
            counters=[self._counter(row) for row in changes.counters],
            links=changes.links,
            episodes=[self._episode(episode, shift) for episode in changes.episodes],
            runs=[self._run(run, shift) for run in changes.runs],
            states=changes.states if abs(shift) < _SAME_TIME_SECONDS else {},
            cursors=changes.cursors,
            clock=clock and Kept(clock.boot_id, clock.offset + shift, clock.steady + shift, clock.wall),
            forget=changes.forget,
            remediations=[
                msgspec.structs.replace(row, at=row.at + shift, opened_at=_moved(row.opened_at, shift))
                for row in changes.remediations
            ],
        )

    def _counter(self, row: CounterRow) -> CounterRow:
        key = (row.owner, row.name, row.labels)
        added = self._added.get(key)
        if added is None:
            added = self._added[key] = _before(self._counters.get(key), row)
        return msgspec.structs.replace(row, total=row.total + added)

    def _device(self, row: DeviceRow) -> DeviceRow:
        key = row.identity.key
        known = self._devices.get(key)
        if known is None:
            known = self._devices[key] = msgspec.structs.replace(row, label=self._free_label(key, row.label))
            self._labels[(key.vendor, known.label)] = key
        return msgspec.structs.replace(row, label=known.label, first_seen=min(known.first_seen, row.first_seen))

    def _free_label(self, key: DeviceKey, label: str) -> str:
        while label.isdigit() and self._labels.get((key.vendor, label), key) != key:
            label = str(int(label) + 1)
        return label

    def _episode(self, episode: Episode, shift: float) -> Episode:
        return msgspec.structs.replace(
            episode,
            id=episode.id + self._number_shift,
            first_at=episode.first_at + shift,
            last_at=episode.last_at + shift,
            onset_at=_moved(episode.onset_at, shift),
            cleared_at=_moved(episode.cleared_at, shift),
            settles_at=_moved(episode.settles_at, shift),
            conditions={
                name: msgspec.structs.replace(condition, last_at=condition.last_at + shift)
                for name, condition in episode.conditions.items()
            },
        )

    def _run(self, run: RunRecord, shift: float) -> RunRecord:
        known = self._runs.get((run.run_id, run.attempt))
        moved = msgspec.structs.replace(
            run,
            started_at=run.started_at + shift,
            ended_at=_moved(run.ended_at, shift),
            onset_at=_moved(run.onset_at, shift),
        )
        if known is None or known.started >= run.started:
            return moved
        return msgspec.structs.replace(moved, started=known.started, started_at=known.started_at)


def _before(there: CounterRow | None, row: CounterRow) -> float:
    """What the file's counter had, and what the device counted between its last row and our first reading."""
    if there is None:
        return 0.0
    if there.raw is None or row.raw is None:
        return there.total
    first = row.raw - row.total  # our count was 0 then
    if first < 0:  # the device has begun anew since: what was between is not known
        return there.total
    return there.total + (first - there.raw if first >= there.raw else first)


def _shift(there: Kept, ours: Kept) -> float:
    """The file's steady time minus ours, as `clock.SteadyClock` would have gone on from it."""
    if there.boot_id == ours.boot_id:
        return there.offset - ours.offset
    return there.steady + max(0.0, ours.wall - there.wall) - ours.steady


def _moved(at: float | None, shift: float) -> float | None:
    return None if at is None else at + shift
