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

_DEVICE_NODE = re.compile(r"/dev/(nvidia\d+|davinci\d+)$")
# A process that holds no device is looked at again after so long, then twice as long, up to the limit.
LOOK_AGAIN_SECONDS, LOOK_AGAIN_LIMIT_SECONDS = 5.0, 60.0


class Looked(msgspec.Struct):
    """A process that held no device when it was last looked at."""

    next_look: float
    pause: float


class Processes:
    """See the module."""

    name = "processes"

    def __init__(self, *, proc: Path, reads: PrivilegedReads, clock: Clock) -> None:
        self._proc = proc
        self._reads = reads
        self._clock = clock
        self._others: dict[int, Looked] = {}
        self._unreadable = 0

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
            pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        except OSError as error:
            raise SourceError(f"{self._proc}: cannot be read: {error.strerror}") from error
        self._others = {pid: looked for pid, looked in self._others.items() if pid in pids}
        psutil.PROCFS_PATH = str(self._proc)
        holders: list[HostProcess] = []
        unreadable = 0
        for pid in sorted(pids):
            looked = self._others.get(pid)
            if looked is not None and now < looked.next_look and not everything:
                continue
            try:
                devices = self._devices(pid)
            except PermissionError:
                unreadable += 1
                devices = ()
            except OSError:
                continue  # it has ended
            if not devices:
                pause = min(looked.pause * 2, LOOK_AGAIN_LIMIT_SECONDS) if looked else LOOK_AGAIN_SECONDS
                self._others[pid] = Looked(now + pause, pause)
                continue
            self._others.pop(pid, None)
            process = _describe(pid, devices)
            if process is not None:
                holders.append(process)
        # Said when it grows, not at every poll.
        problems: tuple[str, ...] = ()
        if unreadable > self._unreadable:
            problems = (f"{unreadable} processes of other users cannot be looked into: grant CAP_SYS_PTRACE",)
        self._unreadable = max(unreadable, self._unreadable)
        return Snapshot(processes=tuple(holders), problems=problems)

    def close(self) -> None:
        """Nothing is held between polls."""

    def _devices(self, pid: int) -> tuple[str, ...]:
        found = {
            match[1] for target in self._reads.open_files(self._proc, pid) if (match := _DEVICE_NODE.search(target))
        }
        return tuple(sorted(found))


def _describe(pid: int, devices: tuple[str, ...]) -> HostProcess | None:
    try:
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
    except psutil.Error:
        return None


def _traffic(process: psutil.Process) -> dict[str, int]:
    try:
        counters = process.io_counters()
    except (psutil.Error, OSError, NotImplementedError):
        return {}
    return {"read_bytes": counters.read_bytes, "written_bytes": counters.write_bytes}
