"""Runs on this node: from the processes that hold devices to attempts that start, stall and end.

Pure: no clock, no I/O. The same rules hold for one process on one device and for this node's share of a thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from accelwatch.readings.process import HostProcess, ProcessExit
from accelwatch.runs.attempt import (
    Attempt,
    Member,
    Progress,
    finished,
    holding,
    joined,
    looked_at,
    taken_over,
    told_of,
)
from accelwatch.runs.holding import HeldDevice, holders, is_run
from accelwatch.runs.identity import attempt_name
from accelwatch.runs.model import Outcome, RunRecord, RunRef

# An ended run is shown for so long (design.md, Metrics).
SHOWN_SECONDS = 86400.0
# 300 series per node hold three of each ended run and leave room: a node that sees more ends shows the last ones,
# and of those that went well fewer.
SHOWN_AT_MOST = 64
UNJUDGED_AT_MOST = 4 * SHOWN_AT_MOST
# Attempts are counted on after an end for as long as it is shown, for so many runs.
GENERATIONS_KEPT = 512
# A fault that is read after the process died still belongs to its run.
LATELY_SECONDS = 60.0
# The state is worth writing again after so long although nothing happened: it says when the members were last seen.
KEEP_EVERY_SECONDS = 60.0
# Between two looks lies a poll, or a restart of the agent; what lies longer apart was not watched.
_WATCHED_SECONDS = 60.0


class Generation(msgspec.Struct, frozen=True):
    """The last attempt of a run id and when it ended, in steady seconds."""

    number: int
    ended_at: float = 0.0


class TrackerState(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal keeps, as JSON, so that attempts go on after a restart of the agent."""

    attempts: tuple[Attempt, ...] = ()
    ended: tuple[RunRecord, ...] = ()
    generations: dict[str, Generation] = {}
    lingering: tuple[tuple[int, int | None], ...] = ()
    seen_at: float | None = None
    seen_wall: float | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a step has changed; `keep`: the state is to be written to the journal."""

    started: tuple[RunRecord, ...] = ()
    changed: tuple[RunRecord, ...] = ()
    ended: tuple[RunRecord, ...] = ()
    keep: bool = False


class RunTracker:
    """See the module. One thread at a time."""

    def __init__(self, node: str, state: TrackerState | None = None, own_pid: int | None = None) -> None:
        """`node`: its name, for runs that nobody names. `own_pid`: of the agent, whose children are no runs."""
        state = state or TrackerState()
        self._node = node
        self._own_pid = own_pid
        self._attempts = list(state.attempts)
        self._ended = list(state.ended)
        self._generations = dict(state.generations)
        self._lingering = set(state.lingering)
        self._seen = None if state.seen_at is None else (state.seen_at, state.seen_wall or 0.0)
        self._kept_at: float | None = None

    def state(self) -> TrackerState:
        """What to keep."""
        return TrackerState(
            attempts=tuple(self._attempts),
            ended=tuple(self._ended),
            generations=dict(self._generations),
            lingering=tuple(sorted(self._lingering, key=lambda item: (item[0], item[1] or 0))),
            seen_at=None if self._seen is None else self._seen[0],
            seen_wall=None if self._seen is None else self._seen[1],
        )

    @property
    def open(self) -> tuple[RunRecord, ...]:
        """Runs that go on, oldest first."""
        return tuple(attempt.record for attempt in self._attempts)

    @property
    def ended(self) -> tuple[RunRecord, ...]:
        """Runs that ended within the last day, oldest first."""
        return tuple(self._ended)

    def members(self, ref: RunRef) -> tuple[Member, ...]:
        """The processes of an open run, with those that have ended; () where it is not open."""
        return next((attempt.members for attempt in self._attempts if attempt.record.ref == ref), ())

    def runs_of_devices(self, now: float) -> dict[tuple[str, str], RunRef]:
        """By vendor and label: the run that holds the device, or held it until a minute ago."""
        lately = [r for r in self._ended if r.ended_at is not None and now - r.ended_at <= LATELY_SECONDS]
        return {(d.vendor, d.device): record.ref for record in (*lately, *self.open) for d in record.devices}

    def replace(self, record: RunRecord) -> None:
        """Takes an ended run back with its cause."""
        self._ended = [record if old.ref == record.ref else old for old in self._ended]

    def step(
        self,
        processes: Sequence[HostProcess] | None,
        devices: Sequence[HeldDevice],
        exits: Iterable[ProcessExit],
        now: float,
        wall: float,
        progress: Mapping[RunRef, Progress] | None = None,
    ) -> Changes:
        """What has become of the runs. `now` and the exits' `at` are steady seconds, `wall` seconds since the epoch.

        `processes`: a new view of /proc, `None` where there is none since the last step. `progress`: of runs that are
        watched for stalls; what is not in it stays as it was.
        """
        before = {attempt.record.ref: attempt for attempt in self._attempts}
        closed: list[RunRecord] = []
        exits = tuple(exits)
        for number, attempt in enumerate(self._attempts):
            known = (progress or {}).get(attempt.record.ref)
            if known is not None:
                attempt = msgspec.structs.replace(attempt, progress=known)
            self._attempts[number] = told_of(attempt, exits)
        if processes is not None:
            self._look(processes, devices, now, wall, closed)
        for attempt in [a for a in self._attempts if a.over and a.settled(now)]:
            self._close(attempt, now, wall, closed, replaced=False)
        forgotten = self._forget(now)
        started = tuple(a.record for a in self._attempts if a.record.ref not in before)
        changed = tuple(
            a.record for a in self._attempts if a.record.ref in before and before[a.record.ref].record != a.record
        )
        moved = any(_lasting(before.get(a.record.ref)) != _lasting(a) for a in self._attempts)
        keep = bool(closed or moved or forgotten or self._kept_at is None or now - self._kept_at >= KEEP_EVERY_SECONDS)
        if keep:
            self._kept_at = now
        return Changes(started=started, changed=changed, ended=tuple(closed), keep=keep)

    def _look(
        self,
        processes: Sequence[HostProcess],
        devices: Sequence[HeldDevice],
        now: float,
        wall: float,
        closed: list[RunRecord],
    ) -> None:
        seen = {process.pid: process for process in processes}
        watched = self._seen is None or now - self._seen[0] <= _WATCHED_SECONDS
        gone = (now, wall) if watched or self._seen is None else self._seen
        self._lingering = {key for key in self._lingering if key[0] in seen and seen[key[0]].instance == key[1]}
        held = holders(processes, devices)
        self._attempts = [holding(looked_at(attempt, seen, gone), held) for attempt in self._attempts]
        for attempt in [a for a in self._attempts if a.over and a.settled(now)]:
            self._close(attempt, now, wall, closed, replaced=False)
        for process in sorted(processes, key=lambda p: (p.started, p.pid)):  # a parent comes before its children
            if process.pid in held and is_run(process, self._own_pid) and not self._known(process):
                self._assign(process, held[process.pid], now, wall, closed)
        self._seen = (now, wall)

    def _known(self, process: HostProcess) -> bool:
        return (process.pid, process.instance) in self._lingering or any(
            member.same(process) for attempt in self._attempts for member in attempt.members
        )

    def _assign(
        self,
        process: HostProcess,
        held: Sequence[HeldDevice],
        now: float,
        wall: float,
        closed: list[RunRecord],
    ) -> None:
        family = self._attempt_of_parent(process)
        if family is not None:
            self._put(family, joined(family, process, held, _began_at(process, now, wall), helper=True))
            return
        run_id, base, restarts = self._name(process)
        attempt = next((a for a in reversed(self._attempts) if a.record.run_id == run_id and a.base == base), None)
        survivors: tuple[Member, ...] = ()
        old: Attempt | None = None
        if attempt is not None and (restarts > attempt.restarts or attempt.replaces(process, held)):
            # Where the launcher counts a restart it ends what is left of the old attempt; else the others go on.
            old, survivors = attempt, () if restarts > attempt.restarts else attempt.alive
            self._close(old, now, wall, closed, replaced=True)
            attempt = None
        if attempt is None:
            attempt = self._begin(process, run_id, base, restarts, now, wall)
        new = joined(attempt, process, held, _began_at(process, now, wall), helper=False)
        if old is not None and survivors:
            new = taken_over(new, old, survivors)
            self._lingering -= {(member.pid, member.instance) for member in survivors}
        self._put(attempt, new)

    def _attempt_of_parent(self, process: HostProcess) -> Attempt | None:
        """Where a live member started it, unless it has a rank of its own."""
        rank = process.run.rank if process.run is not None else None
        for attempt in self._attempts:
            for member in attempt.members:
                if member.pid == process.parent and not member.over and rank in (None, member.rank):
                    return attempt
        return None

    def _name(self, process: HostProcess) -> tuple[str, str, int]:
        identity, launcher = process.run, process.launcher
        if identity is not None and identity.run_id is not None:
            return identity.run_id, identity.base, identity.restarts
        restarts = identity.restarts if identity is not None else 0
        if launcher is None:
            return f"{self._node}/{process.group or process.pid}", "", restarts
        return f"{self._node}/{launcher.group}-{launcher.instance}", "", restarts

    def _begin(self, process: HostProcess, run_id: str, base: str, restarts: int, now: float, wall: float) -> Attempt:
        last = self._generations.get(f"{run_id} {base}")
        generation = restarts if last is None else max(last.number + 1, restarts)
        identity = process.run
        attempt = Attempt(
            record=RunRecord(
                run_id=run_id,
                attempt=attempt_name(base, generation),
                launcher=identity.launcher if identity is not None and identity.launcher else "none",
                partition=identity.partition if identity is not None else "",
                started=process.started,
                started_at=_began_at(process, now, wall),
            ),
            base=base,
            generation=generation,
            restarts=restarts,
        )
        self._attempts.append(attempt)
        return attempt

    def _put(self, old: Attempt, new: Attempt) -> None:
        self._attempts[next(n for n, a in enumerate(self._attempts) if a.record.ref == old.record.ref)] = new

    def _close(self, attempt: Attempt, now: float, wall: float, closed: list[RunRecord], replaced: bool) -> None:
        self._attempts = [a for a in self._attempts if a.record.ref != attempt.record.ref]
        # An older view of /proc may still show them, or they are slow to die: they make no new attempt.
        self._lingering |= {(member.pid, member.instance) for member in attempt.members}
        record = finished(attempt, now, wall, replaced)
        key = f"{record.run_id} {attempt.base}"
        self._generations.pop(key, None)
        self._generations[key] = Generation(attempt.generation, now if record.ended_at is None else record.ended_at)
        self._ended.append(record)
        closed.append(record)

    def _forget(self, now: float) -> bool:
        """Drops what is not shown any more."""
        kept = [record for record in self._ended if record.ended_at is None or now - record.ended_at < SHOWN_SECONDS]
        while len(kept) > SHOWN_AT_MOST:
            # What is not judged yet is not counted yet: it waits, unless runs end faster than they are judged.
            judged = [record for record in kept if record.cause_final]
            if not judged and len(kept) <= UNJUDGED_AT_MOST:
                break
            good = next((record for record in judged if record.outcome is Outcome.COMPLETED), (judged or kept)[0])
            kept.remove(good)
        dropped = len(kept) < len(self._ended)
        self._ended = kept
        young = {key: last for key, last in self._generations.items() if now - last.ended_at < SHOWN_SECONDS}
        for key in list(young)[: max(0, len(young) - GENERATIONS_KEPT)]:
            del young[key]
        self._generations = young
        return dropped


def _began_at(process: HostProcess, now: float, wall: float) -> float:
    return now - max(0.0, wall - process.started)


def _lasting(attempt: Attempt | None) -> Attempt | None:
    """Without what changes at every step."""
    return None if attempt is None else msgspec.structs.replace(attempt, progress=Progress())
