"""The work of a run's processes on this node, as hang detection is fed with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from accelwatch.readings.process import HostProcess
from accelwatch.runs.attempt import Member
from accelwatch.runs.model import RunRecord, RunRef
from accelwatch.runs.sample import Work

Number = TypeVar("Number", int, float)
# By vendor and label: the pids that hold a device, by its driver (`None`: it does not say). Lost ones are not in it.
Holders = Mapping[tuple[str, str], tuple[int, ...] | None]


class _Seen(msgspec.Struct, frozen=True):
    """What a run's work was made of, and the work."""

    record: RunRecord
    members: tuple[Member, ...]
    processes: Mapping[int, HostProcess]
    held: tuple[tuple[int, ...] | bool | None, ...]
    work: Work | None


class Works:
    """Asked each second, while /proc is looked into every five: what is made of the same is made once."""

    def __init__(self) -> None:
        self._seen: dict[RunRef, _Seen] = {}

    def of(
        self,
        record: RunRecord,
        members: tuple[Member, ...],
        processes: Mapping[int, HostProcess],
        at: float,
        pids: Holders,
    ) -> Work | None:
        """`processes`: by pid, as looked at at `at` (steady seconds). `None`: of its devices or processes is none."""
        held = tuple([pids.get((device.vendor, device.device), False) for device in record.devices])
        seen = self._seen.get(record.ref)
        if (
            seen is None
            or seen.processes is not processes
            or seen.record is not record
            or seen.members is not members
            or seen.held != held
        ):
            work = _work(record, members, processes, at, pids)
            seen = self._seen[record.ref] = _Seen(record, members, processes, held, work)
        return seen.work

    def forget(self, ref: RunRef) -> None:
        """Its run has ended."""
        self._seen.pop(ref, None)


def _work(
    record: RunRecord, members: tuple[Member, ...], processes: Mapping[int, HostProcess], at: float, pids: Holders
) -> Work | None:
    alive = [processes[m.pid] for m in members if not m.over and m.pid in processes]
    if not record.devices or not alive:
        return None
    pids_alive = {p.pid for p in alive}
    # Data loaders are forked by a rank and hold no memory of a device, so the driver does not list them.
    family = [p for p in processes.values() if p.pid in pids_alive or p.parent in pids_alive]
    holders = {pid for device in record.devices for pid in pids.get((device.vendor, device.device)) or ()}
    workers = {m.pid for m in members if not m.helper and not m.over}
    return Work(
        at=at,
        pids=tuple(sorted((holders & pids_alive) or workers)),
        devices=tuple(f"{d.vendor}/{d.device}" for d in record.devices if (d.vendor, d.device) in pids),
        world_size=record.world_size,
        cpu_seconds=_sum(p.cpu_seconds for p in family),
        read_bytes=_sum(p.read_bytes for p in family),
        written_bytes=_sum(p.written_bytes for p in family),
        states=tuple(p.state for p in alive),
    )


def _sum(values: Iterable[Number | None]) -> Number | None:
    """Of what can be read; `None` where nothing can."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None
