"""What /proc tells of one process: its stat line (proc(5)), its launcher and its container."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from accelwatch.readings.process import Launcher

# Who starts anything at all, so that what it started is its own launcher: shells, init, and the daemons of schedulers
# and containers. Compared with the first 15 characters that the kernel keeps of a name.
NO_LAUNCHERS = frozenset((
    "bash", "sh", "dash", "zsh", "ksh", "fish", "tcsh", "csh", "tmux", "tmux: server", "screen", "systemd", "init",
    "sshd", "sshd-session", "sudo", "su", "login", "cron", "containerd-shim", "containerd-shim-", "conmon", "dockerd",
    "docker-init", "tini", "dumb-init", "pause", "slurmstepd", "slurmd", "kubelet", "supervisord", "nohup", "timeout",
))  # fmt: skip
NAME_LENGTH = 15
# docker-<id>.scope, cri-containerd-<id>.scope, .../docker/<id>, .../kubepods/.../<id>: always 64 hex digits.
_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_CGROUP_BYTES = 16384
_STAT_BYTES = 4096


_TICKS = os.sysconf("SC_CLK_TCK")


class Stat(msgspec.Struct, frozen=True):
    """The fields of /proc/<pid>/stat that say who a process is. `instance`: its start, in clock ticks since boot.

    `cpu_seconds`: user and system, its own and that of reaped children.
    """

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    instance: int
    cpu_seconds: float = 0.0


def read_stat(proc: Path, pid: int) -> Stat:
    """Raises `OSError` where there is no such process, `ValueError` for a line that is cut. A name may hold `)`."""
    # A stat line has some 300 bytes; a file object would cost more than the read.
    descriptor = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, _STAT_BYTES).decode(errors="replace")
    finally:
        os.close(descriptor)
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    if len(fields) < 20:
        raise ValueError(f"stat line is cut: {text[:80]!r}")
    ticks = int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
    return Stat(pid, name, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), ticks / _TICKS)


def boot_time(proc: Path) -> float:
    """When the host booted, in seconds since the epoch: what the starts of processes are counted from.

    Raises `OSError`, `ValueError` for a file without it.
    """
    for line in (proc / "stat").read_text(errors="replace").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise ValueError(f"{proc}/stat: no line `btime`")


def started_at(stat: Stat, boot: float) -> float:
    """When a process began, in seconds since the epoch."""
    return boot + stat.instance / _TICKS


def launcher_of(process: Stat, read: Callable[[int], Stat]) -> Launcher:
    """The parent, unless that starts anything at all; its process group, and when the group's leader began.

    `read`: as `read_stat`; the ranks of a node have one parent, so it may remember.
    """
    chosen = process
    if process.parent > 1:
        try:
            parent = read(process.parent)
        except (OSError, ValueError):
            parent = process  # it has just ended
        if parent.name[:NAME_LENGTH] not in NO_LAUNCHERS:
            chosen = parent
    instance = chosen.instance
    if chosen.group not in (0, chosen.pid):
        try:
            instance = read(chosen.group).instance
        except (OSError, ValueError):
            instance = chosen.instance  # the leader has ended, its group goes on
    return Launcher(pid=chosen.pid, name=chosen.name, group=chosen.group or chosen.pid, instance=instance)


def container_of(proc: Path, pid: int) -> str | None:
    """The id of its container, from the path of its control group; `None` on the host, or where it cannot be read."""
    try:
        with (proc / str(pid) / "cgroup").open("rb") as file:
            text = file.read(_CGROUP_BYTES).decode(errors="replace")
    except OSError:
        return None
    found = _CONTAINER.findall(text)
    return found[-1] if found else None  # the innermost
