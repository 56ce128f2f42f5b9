"""Processes that hold accelerators, from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
import psutil

from accelwatch.clock import STEP_SECONDS, Clock
from accelwatch.readings.process import HostProcess, RunIdentity
from accelwatch.readings.snapshot import Snapshot
from accelwatch.runs.identity import identify
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.privileged import DEVICE_NODE, PrivilegedReads
from accelwatch.sources.proc_files import NAME_LENGTH, Stat, boot_time, container_of, launcher_of, read_stat, started_at
from accelwatch.sources.process_events import Deliver, ProcessEvents

# The open files of a process are looked through again after so long, then twice as long, up to a limit: a rank has
# hundreds, and holds its devices until it ends, which is seen at each poll.
LOOK_AGAIN_SECONDS, LOOK_AGAIN_LIMIT_SECONDS = 5.0, 60.0
HOLDER_LIMIT_SECONDS = 30.0
# The states of proc(5) in psutil's words.
STATES = {
    "R": "running", "S": "sleeping", "D": "disk-sleep", "T": "stopped", "t": "tracing-stop", "Z": "zombie",
    "X": "dead", "x": "dead", "K": "wake-kill", "W": "waking", "I": "idle", "P": "parked",
}  # fmt: skip
GRANT = "is accelwatch-helper up? Without it: grant CAP_SYS_PTRACE"


class Looked(msgspec.Struct):
    """What a process held when it was last looked at, or could not be looked into.

    `instance` is the inode of its directory in /proc: it comes with the listing and changes when the pid is given
    to another process, so no file of a process has to be read to notice that.
    """

    instance: int
    next_look: float
    pause: float
    readable: bool
    devices: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """What does not change while a process lives: read once, when it is first seen to hold a device."""

    instance: int
    run: RunIdentity | None
    readable: bool
    container: str | None


class Processes:
    """See the module. With `exits` it also follows how those processes end, once it is started."""

    name = "processes"

    def __init__(self, *, proc: Path, reads: PrivilegedReads, clock: Clock, exits: Deliver | None = None) -> None:
        self._proc = proc
        self._reads = reads
        self._clock = clock
        self._others: dict[int, Looked] = {}
        self._holding: dict[int, Looked] = {}
        self._told_unreadable = 0
        self._found: dict[int, Found] = {}
        self._handles: dict[int, psutil.Process] = {}  # of those with a long name: making one costs a look of its own
        self._last: dict[int, HostProcess] = {}  # the holders of the last poll
        self._stats: dict[int, Stat] = {}  # read in this poll
        self._told_environment = False
        # Read once, since it wavers by a second and a start must not move; and anew when the clock was set.
        self._boot: float | None = None
        self._ahead = 0.0  # of the wall clock before the monotonic one, when it was read
        self._events = None if exits is None else ProcessEvents(proc=proc, reads=reads, clock=clock, deliver=exits)

    @property
    def exits_followed(self) -> bool:
        """Whether the ends of processes are told: else how a run ended is not known."""
        return self._events is not None and self._events.followed

    def start(self) -> None:
        """Follows exits; see `sources.base.Follower`."""
        if self._events is not None:
            self._events.start()

    def presence(self) -> Presence:
        """A host without device nodes has no such processes."""
        if str(self._proc) != "/proc":
            return Presence.PRESENT if self._proc.is_dir() else Presence.ABSENT
        nodes = any(DEVICE_NODE.match(f"/dev/{name}") for name in os.listdir("/dev"))
        return Presence.PRESENT if nodes else Presence.ABSENT

    def poll(self, everything: bool = False) -> Snapshot:
        """Every holder of a device; see `sources.base.Source`."""
        now = self._clock.monotonic()
        self._stats.clear()
        ahead = self._clock.time() - now
        if abs(ahead - self._ahead) > STEP_SECONDS:
            self._boot, self._ahead = None, ahead
        try:
            with os.scandir(self._proc) as entries:
                pids = {int(entry.name): entry.inode() for entry in entries if entry.name.isdecimal()}
        except OSError as error:
            raise SourceError(f"{self._proc}: cannot be read: {error.strerror}") from error
        self._others = {pid: looked for pid, looked in self._others.items() if pids.get(pid) == looked.instance}
        self._holding = {pid: looked for pid, looked in self._holding.items() if pids.get(pid) == looked.instance}
        holders: dict[int, HostProcess] = {}
        problems: list[str] = []
        for pid in sorted(pids):
            looked = self._others.get(pid)
            if looked is not None and now < looked.next_look and not everything:
                continue
            holding = self._holding.get(pid)
            known = () if holding is None or everything or now >= holding.next_look else holding.devices
            holder, readable, problem = self._holder(pid, known)
            if problem is not None:
                problems.append(problem)
            if holder is not None:
                holders[pid] = holder
                self._others.pop(pid, None)
                if readable and problem is None and not known:
                    pause = LOOK_AGAIN_SECONDS
                    if holding is not None and holding.devices == holder.devices:
                        pause = min(holding.pause * 2, HOLDER_LIMIT_SECONDS)
                    self._holding[pid] = Looked(pids[pid], now + pause, pause, True, holder.devices)
            elif problem is None:
                self._holding.pop(pid, None)
                pause = min(looked.pause * 2, LOOK_AGAIN_LIMIT_SECONDS) if looked else LOOK_AGAIN_SECONDS
                self._others[pid] = Looked(pids[pid], now + pause, pause, readable)
        self._last = holders
        self._found = {pid: found for pid, found in self._found.items() if pid in pids}
        self._handles = {pid: handle for pid, handle in self._handles.items() if pid in self._found}
        problems += self._unreadable()
        if self._events is not None:
            self._events.watch(_watched(holders.values()))
            problems += self._events.take_problems()
        return Snapshot(processes=tuple(holders.values()), problems=tuple(problems))

    def close(self) -> None:
        """Ends the follower; nothing else is held between polls."""
        if self._events is not None:
            self._events.close()

    def _unreadable(self) -> list[str]:
        problems = []
        unreadable = sum(not looked.readable for looked in self._others.values())
        if unreadable > self._told_unreadable:  # said when it grows, not at every poll
            self._told_unreadable = unreadable
            problems.append(f"{unreadable} processes of other users cannot be looked into: {GRANT}")
        closed = sorted(pid for pid, found in self._found.items() if not found.readable)
        if closed and not self._told_environment:
            self._told_environment = True
            problems.append(
                f"{self._proc}/{closed[0]}/environ may not be read: runs are told apart by their launcher's process "
                f"group and carry this node's name in place of the scheduler's job id; {GRANT}"
            )
        return problems

    def _holder(self, pid: int, known: tuple[str, ...]) -> tuple[HostProcess | None, bool, str | None]:
        """The process if it holds a device, whether it may be looked into, and what went wrong."""
        readable, problem = True, None
        try:
            if known and self._stat(pid).state in "ZX":
                known = ()  # it has ended, and let go of them
            devices = known or self._devices(pid)
            return (self._describe(pid, devices) if devices else None), True, None
        except PermissionError:
            readable = False
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return None, True, None  # it has ended
        except (psutil.Error, OSError, ValueError, IndexError) as error:  # such as too many open files of our own
            problem = f"{self._proc}/{pid}: cannot be read: {error}"
        kept = self._still(pid)
        if kept is not None and problem is None:
            problem = f"{self._proc}/{pid}: held {', '.join(kept.devices)}, may not be looked into now"
        return kept, readable, problem

    def _still(self, pid: int) -> HostProcess | None:
        """A holder that cannot be looked into this time but lives: what is known of it, without what moves.

        Its run must not be taken for ended because we could not read.
        """
        last = self._last.get(pid)
        if last is None:
            return None
        try:
            stat = read_stat(self._proc, pid)
        except (OSError, ValueError):
            return None if not (self._proc / str(pid)).exists() else _unmoved(last)
        return _unmoved(last) if stat.instance == last.instance and stat.state not in "ZX" else None

    def _devices(self, pid: int) -> tuple[str, ...]:
        found = {
            match[1] for target in self._reads.open_files(self._proc, pid) if (match := DEVICE_NODE.search(target))
        }
        return tuple(sorted(found))

    def _describe(self, pid: int, devices: tuple[str, ...]) -> HostProcess:
        stat = self._stat(pid)
        found = self._found.get(pid)
        if found is None or found.instance != stat.instance:
            found = self._learn(pid, stat)
        if self._boot is None:
            self._boot = boot_time(self._proc)
        return HostProcess(
            pid=pid,
            name=stat.name if len(stat.name) < NAME_LENGTH else self._long_name(pid),
            started=started_at(stat, self._boot),
            state=STATES.get(stat.state, "?"),
            cpu_seconds=stat.cpu_seconds,
            devices=devices,
            instance=stat.instance,
            parent=stat.parent,
            group=stat.group,
            session=stat.session,
            launcher=launcher_of(stat, self._stat),
            container=found.container,
            run=found.run,
            environment_readable=found.readable,
            **self._traffic(pid),
        )

    def _long_name(self, pid: int) -> str:
        """The kernel keeps 15 characters of a name; what the command line begins with may tell the rest."""
        if pid not in self._handles:
            with _procfs(self._proc):
                self._handles[pid] = psutil.Process(pid)
        return self._handles[pid].name()

    def _traffic(self, pid: int) -> dict[str, int]:
        try:
            read, written = self._reads.traffic(self._proc, pid)
        except (OSError, ValueError):  # another user's, or not kept by this kernel
            return {}
        return {"read_bytes": read, "written_bytes": written}

    def _stat(self, pid: int) -> Stat:
        stat = self._stats.get(pid)
        if stat is None:
            stat = self._stats[pid] = read_stat(self._proc, pid)
        return stat

    def _learn(self, pid: int, stat: Stat) -> Found:
        """The environment is parsed at once: only the identity stays in memory."""
        run, readable, lasting = None, True, True
        try:
            run = identify(self._reads.environment(self._proc, pid))
        except PermissionError:
            readable = False
        except OSError:
            lasting = False  # it is just ending, or the kernel could not: asked again at the next poll
        self._handles.pop(pid, None)  # of an earlier process
        found = Found(stat.instance, run, readable, container_of(self._proc, pid))
        if lasting:
            self._found[pid] = found
        return found


@contextlib.contextmanager
def _procfs(proc: Path) -> Iterator[None]:
    """psutil knows one tree for the whole process: it is ours only while a process is first looked at."""
    before = psutil.PROCFS_PATH
    psutil.PROCFS_PATH = str(proc)
    try:
        yield
    finally:
        psutil.PROCFS_PATH = before


def _unmoved(last: HostProcess) -> HostProcess:
    return msgspec.structs.replace(last, state="unknown", cpu_seconds=None, read_bytes=None, written_bytes=None)


def _watched(holders: Collection[HostProcess]) -> dict[int, float]:
    """The holders, and their launchers: of a launcher only that it is older than what it launched matters."""
    launchers = {process.launcher.pid: 0.0 for process in holders if process.launcher is not None}
    return launchers | {process.pid: process.started for process in holders}
