"""What the kernel says of the host itself: memory, crashes, lock-ups, disks."""

from __future__ import annotations

import re

from accelwatch.logs.family import Stateless
from accelwatch.readings.log_event import LogEvent

_PANIC = re.compile(r"Kernel panic - not syncing: .*")
_SOFT_LOCKUP = re.compile(r"BUG: soft lockup - CPU#\d+ stuck for (\d{1,12})s! \[(.+):(\d{1,12})\]")
_KILLED = re.compile(r"Killed process (\d{1,12}),? (?:\((.*?)\)(?=[\s,]|$)|UID)")
_SEGFAULT = re.compile(r"(?:(\S[^:\[\]]{0,63})\[(\d{1,12})\]: )?segfault at [0-9a-fA-F]+ ip [0-9a-fA-F]+ sp ")
_TRAP = re.compile(
    r"traps: (.{1,64})\[(\d{1,12})\] (?:general protection(?: fault)?|trap \w[\w ]*) ip:[0-9a-fA-F]+ sp:"
)
# Floppy and optical drives, which answer with errors when they are empty, are left out.
_DISK = r"(?!fd\d|sr\d)[\w!/.-]{1,64}"
_IO = re.compile(
    rf"I/O error,? (?:on )?dev(?:ice)? {_DISK}, (?:sector|logical block) \d+"
    rf"|critical (?:medium|target|space allocation) error, dev {_DISK}, sector"
    r"|nvme \w{1,32}: (?:I/O (?:\d{1,6}|tag) .*timeout|controller is down|Device not ready|Removing after)"
    r"|EXT4-fs error \(device \S+\)"
    r"|XFS \(\S+\): (?:.*I/O error|Metadata corruption|Filesystem has been shut down|Corruption of in-memory data)"
    r"|nfs: server \S+ not responding"
)


class Host(Stateless):
    """See the module."""

    needles = (
        "Kernel panic", "BUG: soft lockup", "Killed process", "segfault at ", "] general protection", "] trap ", "I/O ",
        ", sector ", "CSTS=", "EXT4-fs error", "XFS (", ": server ",
    )  # fmt: skip

    def feed(self, text: str) -> list[LogEvent]:
        """One event per line."""
        if (match := _PANIC.search(text)) is not None:
            return [LogEvent(kind="panic", vendor="host", text=match[0])]
        if (match := _SOFT_LOCKUP.search(text)) is not None:
            return [_of_process("soft_lockup", match[2], match[3], text, waited=float(match[1]))]
        if (match := _KILLED.search(text)) is not None:
            return [_of_process("oom_kill", match[2], match[1], text)]
        if (match := _TRAP.search(text) or _SEGFAULT.search(text)) is not None:
            return [_of_process("segfault", match[1], match[2], text[match.start() :])]
        if (match := _IO.search(text)) is not None:
            return [LogEvent(kind="io_error", vendor="host", text=text)]
        return []


def _of_process(kind: str, name: str | None, pid: str | None, text: str, waited: float | None = None) -> LogEvent:
    return LogEvent(
        kind=kind,
        vendor="host",
        process=name or None,
        pid=None if pid is None else int(pid),
        waited_seconds=waited,
        text=text,
    )
