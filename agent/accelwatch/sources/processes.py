"""Processes that hold accelerators, from /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import psutil

from accelwatch.clock import Clock
from accelwatch.readings.process import HostProcess
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.privileged import PrivilegedReads

# A node that was removed while it was held (driver reloaded, device gone) is still held.
_DEVICE_NODE = re.compile(r"/dev/(nvidia\d+|davinci\d+)(?: \(deleted\))?$")
# A process that holds no device is looked at again after so long, then twice as long, up to the limit.
LOOK_AGAIN_SECONDS, LOOK_AGAIN_LIMIT_SECONDS = 5.0, 60.0


class Looked(msgspec.Struct):
    """A process that held no device when it was last looked at, or could not be looked into.

    `instance` is the inode of its directory in /proc: it comes with the listing and changes when the pid is given
    to another process, so no file of a process has to be read to notice that.
    """

    instance: int
    next_look: float
    pause: float
    readable: bool


class Processes:
    """See the module."""

    name = "processes"

    def __init__(self, *, proc: Path, reads: PrivilegedReads, clock: Clock) -> None:
        self._proc = proc
        self._reads = reads
        self._clock = clock
        self._others: dict[int, Looked] = {}
        self._told_unreadable = 0

    def presence(self) -> Presence:
        """A host without device nodes has no such processes."""
        if str(self._proc) != "/proc":
            return Presence.PRESENT if self._proc.is_dir() else Presence.ABSENT
        nodes = any(_DEVICE_NODE.match(f"/dev/{name}") for name in os.listdir("/dev"))
        return Presence.PRESENT if nodes else Presence.ABSENT

    def poll(self, everything: bool = False) -> Snapshot:
        """Every holder of a device; see `sources.base.Source`."""
        now = self._clock.monotonic()
        try:
            with os.scandir(self._proc) as entries:
                pids = {int(entry.name): entry.inode() for entry in entries if entry.name.isdecimal()}
        except OSError as error:
            raise SourceError(f"{self._proc}: cannot be read: {error.strerror}") from error
        self._others = {pid: looked for pid, looked in self._others.items() if pids.get(pid) == looked.instance}
        psutil.PROCFS_PATH = str(self._proc)
        holders: list[HostProcess] = []
        problems: list[str] = []
        for pid in sorted(pids):
            looked = self._others.get(pid)
            if looked is not None and now < looked.next_look and not everything:
                continue
            readable = True
            try:
                devices = self._devices(pid)
            except PermissionError:
                devices, readable = (), False
            except OSError:
                continue  # it has ended
            if not devices:
                pause = min(looked.pause * 2, LOOK_AGAIN_LIMIT_SECONDS) if looked else LOOK_AGAIN_SECONDS
                self._others[pid] = Looked(pids[pid], now + pause, pause, readable)
                continue
            self._others.pop(pid, None)
            try:
                holders.append(_describe(pid, devices))
            except psutil.NoSuchProcess:
                continue
            except (psutil.Error, OSError, ValueError, IndexError) as error:
                problems.append(f"{self._proc}/{pid}: holds {', '.join(devices)} but cannot be read: {error}")
        unreadable = sum(not looked.readable for looked in self._others.values())
        if unreadable > self._told_unreadable:  # said when it grows, not at every poll
            self._told_unreadable = unreadable
            problems.append(f"{unreadable} processes of other users cannot be looked into: grant CAP_SYS_PTRACE")
        return Snapshot(processes=tuple(holders), problems=tuple(problems))

    def close(self) -> None:
        """Nothing is held between polls."""

    def _devices(self, pid: int) -> tuple[str, ...]:
        found = {
            match[1] for target in self._reads.open_files(self._proc, pid) if (match := _DEVICE_NODE.search(target))
        }
        return tuple(sorted(found))


def _describe(pid: int, devices: tuple[str, ...]) -> HostProcess:
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return HostProcess(
            pid=pid,
            name=process.name(),
            started=process.create_time(),
            state=str(process.status()),
            cpu_seconds=times.user + times.system + times.children_user + times.children_system,
            devices=devices,
            **_traffic(process),
        )


def _traffic(process: psutil.Process) -> dict[str, int]:
    try:
        counters = process.io_counters()
    except (psutil.Error, OSError, RuntimeError, ValueError):  # another user's, or not kept by this kernel
        return {}
    return {"read_bytes": counters.read_bytes, "written_bytes": counters.write_bytes}
