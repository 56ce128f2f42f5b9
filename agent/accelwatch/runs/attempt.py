"""One open attempt on this node: its members, and what becomes of it when they end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from accelwatch.readings.process import HostProcess, ProcessExit
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.model import RunDevice, RunRecord
from accelwatch.runs.outcome import End, judge_ends

# The start of a process is counted from a boot time that is known to a second.
START_SLACK_SECONDS = 2.0
# A member that is gone from /proc: its exit status may still be on its way.
EXIT_GRACE_SECONDS = 2.0
# Ended members are kept for how they ended; a run that loses more than this is not told by the first ones any better.
ENDED_MEMBERS_KEPT = 256


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run's work on this node. `last_at`: steady seconds of its last progress."""

    last_at: float | None = None
    stalled: bool = False


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process of a run. A helper (a data-loader worker) is a child of another member: its end is of no account."""

    pid: int
    started: float  # seconds since the epoch
    started_at: float | None = None  # steady seconds; `None` in a state of before 0.1.0
    instance: int | None = None
    name: str = ""
    rank: int | None = None
    helper: bool = False
    devices: tuple[tuple[str, str], ...] = ()  # vendor and label
    exit: ProcessExit | None = None  # with `at` in steady seconds
    gone_at: float | None = None  # it was not there any more
    gone_wall: float | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.exit is not None or self.gone_at is not None

    def same(self, process: HostProcess) -> bool:
        """Whether the process of this pid is still the same one."""
        if self.pid != process.pid:
            return False
        if self.instance is not None and process.instance is not None:
            return self.instance == process.instance
        return abs(self.started - process.started) <= START_SLACK_SECONDS

    def lived_at(self, end: ProcessExit) -> bool:
        """Whether it had begun by then: else the end is of an earlier process of this pid."""
        if self.started_at is None:
            return end.wall >= self.started - START_SLACK_SECONDS
        return end.at >= self.started_at - START_SLACK_SECONDS  # whatever the wall clock was set to since

    def ended(self) -> tuple[float, float]:
        """Steady and wall time of its end."""
        if self.exit is not None:
            return self.exit.at, self.exit.wall
        return self.gone_at or 0.0, self.gone_wall or 0.0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """`generation` counts attempts within `base`, `restarts` is what the launcher's own variable said."""

    record: RunRecord
    base: str
    generation: int
    restarts: int = 0
    members: tuple[Member, ...] = ()
    launchers: dict[int, str] = {}
    launcher_ends: tuple[End, ...] = ()
    progress: Progress = Progress()

    @property
    def workers(self) -> tuple[Member, ...]:
        """Members whose end counts."""
        return tuple(member for member in self.members if not member.helper)

    @property
    def alive(self) -> tuple[Member, ...]:
        """Members that have not ended, helpers too."""
        return tuple(member for member in self.members if not member.over)

    @property
    def over(self) -> bool:
        """Whether all workers have ended."""
        return all(member.helper or member.over for member in self.members)

    def settled(self, now: float) -> bool:
        """Whether it need not be waited any longer for how they ended."""
        missing = [w.gone_at for w in self.workers if w.exit is None and w.gone_at is not None]
        return not missing or now - max(missing) >= EXIT_GRACE_SECONDS

    def replaces(self, process: HostProcess, held: Sequence[HeldDevice]) -> bool:
        """Whether a new process takes the place of a worker that has ended: its rank, else its devices."""
        dead = [worker for worker in self.workers if worker.over]
        rank = process.run.rank if process.run is not None else None
        if rank is not None:
            return any(worker.rank == rank for worker in dead)
        left = {key for worker in dead for key in worker.devices}
        return bool(held) and all(device.key in left for device in held)


def joined(
    attempt: Attempt, process: HostProcess, held: Sequence[HeldDevice], started_at: float, helper: bool
) -> Attempt:
    """The attempt with one member more, which began at `started_at` (steady seconds)."""
    identity, launcher = process.run, process.launcher
    rank = identity.rank if identity is not None else None
    member = Member(
        pid=process.pid,
        started=process.started,
        started_at=started_at,
        instance=process.instance,
        name=process.name,
        rank=rank,
        helper=helper,
        devices=tuple(device.key for device in held),
    )
    ended = [m for m in attempt.members if m.over]
    excess = {m.pid for m in ended[: max(0, len(ended) - ENDED_MEMBERS_KEPT)]}
    record = attempt.record
    size = identity.world_size if identity is not None else None
    earlier = min(0.0, process.started - record.started)
    return msgspec.structs.replace(
        attempt,
        members=(*(m for m in attempt.members if not (m.over and m.pid in excess)), member),
        launchers=attempt.launchers
        | ({launcher.pid: launcher.name} if launcher is not None and launcher.pid != process.pid else {}),
        restarts=max(attempt.restarts, identity.restarts if identity is not None else 0),
        record=msgspec.structs.replace(
            record,
            started=record.started + earlier,
            started_at=min(record.started_at, started_at),
            world_size=size if size is not None else record.world_size,
            rank0=record.rank0 or (rank == 0 and not helper),
            devices=_devices(record.devices, process.pid, rank, held),
        ),
    )


def taken_over(attempt: Attempt, old: Attempt, survivors: tuple[Member, ...]) -> Attempt:
    """A new attempt with the workers that outlived the old one, and their devices."""
    keys = {key for member in survivors for key in member.devices}
    have = {(device.vendor, device.device) for device in attempt.record.devices}
    devices = [d for d in old.record.devices if (d.vendor, d.device) in keys - have]
    record = msgspec.structs.replace(
        attempt.record,
        devices=_sorted((*attempt.record.devices, *devices)),
        rank0=attempt.record.rank0 or any(member.rank == 0 and not member.helper for member in survivors),
    )
    return msgspec.structs.replace(
        attempt, members=(*survivors, *attempt.members), record=record, launchers=old.launchers | attempt.launchers
    )


def looked_at(attempt: Attempt, seen: Mapping[int, HostProcess], gone: tuple[float, float]) -> Attempt:
    """After a look into /proc: who is not there any more is gone since then (steady and wall seconds)."""
    members = []
    for member in attempt.members:
        process = seen.get(member.pid)
        present = process is not None and member.same(process)
        if present and member.exit is None and member.gone_at is not None:
            members.append(msgspec.structs.replace(member, gone_at=None, gone_wall=None))  # overlooked the last time
        elif not present and not member.over:
            if not member.helper:
                members.append(msgspec.structs.replace(member, gone_at=gone[0], gone_wall=gone[1]))
        elif present or not member.helper:
            members.append(member)
    if tuple(members) == attempt.members:
        return attempt
    return msgspec.structs.replace(attempt, members=tuple(members))


def holding(attempt: Attempt, held: Mapping[int, Sequence[HeldDevice]]) -> Attempt:
    """With the devices that members hold by now; what they held once stays theirs."""
    members, devices = [], attempt.record.devices
    for member in attempt.members:
        new = tuple(d for d in held.get(member.pid, ()) if not member.over and d.key not in member.devices)
        if new:
            devices = _devices(devices, member.pid, member.rank, new)
            member = msgspec.structs.replace(member, devices=member.devices + tuple(d.key for d in new))
        members.append(member)
    if devices == attempt.record.devices and tuple(members) == attempt.members:
        return attempt
    record = msgspec.structs.replace(attempt.record, devices=devices)
    return msgspec.structs.replace(attempt, members=tuple(members), record=record)


def told_of(attempt: Attempt, exits: Iterable[ProcessExit]) -> Attempt:
    """With the exits of its members and launchers."""
    for exit_ in exits:
        for number, member in enumerate(attempt.members):
            if member.pid == exit_.pid and member.exit is None and member.lived_at(exit_):
                ended = (msgspec.structs.replace(member, exit=exit_),)
                members = attempt.members[:number] + ended + attempt.members[number + 1 :]
                attempt = msgspec.structs.replace(attempt, members=members)
                break
        name = attempt.launchers.get(exit_.pid)
        if name is not None and exit_.at >= attempt.record.started_at - START_SLACK_SECONDS:
            end = End(pid=exit_.pid, exit=exit_, launcher=name)
            attempt = msgspec.structs.replace(attempt, launcher_ends=(*attempt.launcher_ends[-7:], end))
    return attempt


def finished(attempt: Attempt, now: float, wall: float, replaced: bool) -> RunRecord:
    """The record of an attempt that is over. `replaced`: new workers took over, then the first end was its end."""
    workers = attempt.workers
    ends = sorted(worker.ended() for worker in workers if worker.over)
    ended_at, ended = (now, wall) if not ends else ends[0] if replaced else ends[-1]
    outcome, detail = judge_ends(
        [
            *(End(pid=w.pid, rank=w.rank, exit=w.exit) for w in workers if w.over),
            *attempt.launcher_ends,
        ],
        attempt.progress.stalled,
    )
    last = attempt.progress.last_at
    onset_at = None if last is None else min(last, ended_at)
    return msgspec.structs.replace(
        attempt.record,
        ended=ended,
        ended_at=ended_at,
        ended_by_at=now,
        outcome=outcome,
        detail=detail,
        onset_at=onset_at,
        onset=None if onset_at is None else ended - (ended_at - onset_at),
    )


def _devices(
    known: tuple[RunDevice, ...], pid: int, rank: int | None, held: Iterable[HeldDevice]
) -> tuple[RunDevice, ...]:
    """One entry for each device, of the process that held it first."""
    have = {(device.vendor, device.device) for device in known}
    new = [
        RunDevice(vendor=d.vendor, device=d.device, model=d.model, rank=rank, pid=pid)
        for d in held
        if d.key not in have
    ]
    return _sorted((*known, *new))


def _sorted(devices: Iterable[RunDevice]) -> tuple[RunDevice, ...]:
    """2 before 10."""
    return tuple(sorted(devices, key=lambda device: (device.vendor, len(device.device), device.device)))
