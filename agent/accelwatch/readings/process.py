"""Processes: those a driver says hold a device, and what the host knows of them."""

from __future__ import annotations

import msgspec


class DeviceProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds a device, by the driver's account. `name` is the process name only, never its arguments."""

    pid: int
    name: str | None = None
    memory_bytes: int | None = None


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment of a process says of its run (`runs.identity`); nothing else of it is kept.

    `base` is the attempt as the scheduler counts it, "" where none does; `restarts` is what the launcher counts within.
    """

    run_id: str | None = None  # `None`: the environment tells rank or launcher, but not which run
    base: str = ""
    restarts: int = 0
    launcher: str = ""
    partition: str = ""
    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None
    visible_devices: tuple[str, ...] | None = None


class Launcher(msgspec.Struct, frozen=True, kw_only=True):
    """Who started a process: its parent, or itself where that is a shell, a daemon or init.

    `instance` tells two process groups of one number apart: when its leader started, in clock ticks since boot.
    """

    pid: int
    name: str
    group: int
    instance: int


class HostProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that has a device node open, by /proc."""

    pid: int
    name: str
    started: float  # seconds since the epoch
    state: str  # psutil's word: running, sleeping, disk-sleep, stopped, zombie, ...
    cpu_seconds: float | None = None  # user and system, own and reaped children
    read_bytes: int | None = None
    written_bytes: int | None = None
    devices: tuple[str, ...] = ()  # names of device nodes held open: nvidia0, davinci3
    instance: int | None = None  # when it started, in clock ticks since boot: with the pid it names one process
    parent: int | None = None
    group: int | None = None
    session: int | None = None
    launcher: Launcher | None = None
    container: str | None = None  # id from its control group
    run: RunIdentity | None = None  # `None`: nothing in its environment tells of a run, or it may not be read
    environment_readable: bool = True


class ProcessExit(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a process. `at`: seconds of the clock's monotonic time; `wall`: seconds since the epoch."""

    pid: int
    code: int | None = None  # exit status; `None`: ended by a signal
    signal: int | None = None
    core: bool = False  # a core was dumped
    at: float
    wall: float
