"""Reads that need privileges, in the process that has them: the agent's own, or the root helper's.

Imports neither `typing` nor `pathlib`, two tenths of the helper's memory.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator, Sequence

from accelwatch.runs.variables import VARIABLES
from accelwatch.sources.proc_connector import open_connector

TYPE_CHECKING = False
if TYPE_CHECKING:  # the root helper reads without what runs tools, until it is asked for one
    from accelwatch.sources.commands import Output, Runner

# The only variables of a training process that ever leave this side: which run, rank and devices it has.
ENVIRONMENT_ALLOWED = VARIABLES
# A node that was removed while it was held (driver reloaded, device gone) is still held.
DEVICE_NODE = re.compile(r"/dev/(nvidia\d{1,4}|davinci\d{1,4})(?: \(deleted\))?$", re.ASCII)
# Of a variable's value: the longest is a list of all devices of a node by UUID, 128 of 41 characters. A process may
# write megabytes where it was given its environment.
VALUE_BYTES = 8192
_IO_LINE = re.compile(r"^(read_bytes|write_bytes): (\d+)$", re.MULTILINE | re.ASCII)
HCCN_INSTALLED = ("/usr/local/Ascend/driver/tools/hccn_tool",)

PathLike = str | os.PathLike[str]


class LocalReads:
    """With this process's own privileges: what `sources.privileged.PrivilegedReads` asks for."""

    def __init__(self, runner: Runner, events: socket.socket | None = None) -> None:
        self._runner = runner
        self._events = events  # see `open_connector`

    def open_kernel_log(self, path: PathLike) -> int:
        """See the protocol. A FIFO is opened for both ways, so that it does not end with its writer."""
        return os.open(path, (os.O_RDWR if _is_fifo(path) else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC)

    def open_files(self, proc: PathLike, pid: int) -> list[str]:
        """See the protocol."""
        return sorted(set(_device_nodes(proc, pid)))

    def holds_device(self, proc: PathLike, pid: int) -> bool:
        """Whether the process has a device node open: looks no further than the first. Raises `OSError`."""
        return next(_device_nodes(proc, pid), None) is not None

    def environment(self, proc: PathLike, pid: int) -> dict[str, str]:
        """See the protocol."""
        with open(os.path.join(proc, str(pid), "environ"), "rb") as file:
            raw = file.read()
        pairs = (entry.partition(b"=") for entry in raw.split(b"\0"))
        return {
            name.decode(): value.decode(errors="replace")
            for name, equals, value in pairs
            if equals and len(value) <= VALUE_BYTES and name.decode(errors="replace") in ENVIRONMENT_ALLOWED
        }

    def traffic(self, proc: PathLike, pid: int) -> tuple[int, int]:
        """See the protocol."""
        with open(os.path.join(proc, str(pid), "io"), encoding="ascii", errors="replace") as file:
            found = dict(_IO_LINE.findall(file.read()))
        if len(found) != 2:
            raise ValueError(f"{proc}/{pid}/io: no read_bytes and write_bytes")
        return int(found["read_bytes"]), int(found["write_bytes"])

    def open_process_events(self) -> socket.socket:
        """See the protocol."""
        return open_connector(self._events)

    def hccn_tool(self, argv: Sequence[str], timeout: float) -> Output:
        """See the protocol."""
        return self._runner.run(argv, timeout)


def _device_nodes(proc: PathLike, pid: int) -> Iterator[str]:
    """Any user's process may have a million others open, of any length: none is kept."""
    with os.scandir(os.path.join(proc, str(pid), "fd")) as entries:
        for entry in entries:
            try:
                target = os.readlink(entry.path)
            except OSError:
                continue  # closed meanwhile
            if target.startswith("/dev/") and DEVICE_NODE.match(target):
                yield target


def _is_fifo(path: PathLike) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False  # opening it says what is wrong
