"""Processes: those a driver says hold a device, and what the host knows of them."""

from __future__ import annotations

import msgspec


class DeviceProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds a device, by the driver's account. `name` is the process name only, never its arguments."""

    pid: int
    name: str | None = None
    memory_bytes: int | None = None


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
