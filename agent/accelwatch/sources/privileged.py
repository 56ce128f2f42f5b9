"""Reads that need privileges, behind one protocol: they may move into a root helper without network."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from accelwatch.runs.variables import VARIABLES
from accelwatch.sources.proc_connector import open_connector

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


class PrivilegedReads(Protocol):
    """What the agent may ask of the privileged side; nothing else."""

    def open_kernel_log(self, path: Path) -> int:
        """A non-blocking descriptor of the kernel log. Raises `OSError`."""
        ...

    def open_files(self, proc: Path, pid: int) -> list[str]:
        """Device nodes that the process has open, each once. Raises `OSError`."""
        ...

    def environment(self, proc: Path, pid: int) -> dict[str, str]:
        """The allow-listed variables of the process up to `VALUE_BYTES`, no other. Raises `OSError`."""
        ...

    def traffic(self, proc: Path, pid: int) -> tuple[int, int]:
        """Bytes that the process read from and wrote to storage (proc(5), `io`). Raises `OSError`, `ValueError`."""
        ...

    def open_process_events(self) -> socket.socket:
        """A socket on which the kernel tells of each exit (`sources.proc_connector`). Raises `OSError`."""
        ...

    def hccn_tool(self, argv: Sequence[str], timeout: float) -> Output:
        """Runs hccn_tool. Raises `SourceError`."""
        ...


class LocalReads:
    """In the agent's own process, with the agent's own privileges."""

    def __init__(self, runner: Runner, events: socket.socket | None = None) -> None:
        self._runner = runner
        self._events = events  # see `open_connector`

    def open_kernel_log(self, path: Path) -> int:
        """See the protocol. A FIFO is opened for both ways, so that it does not end with its writer."""
        fifo = path.is_fifo()
        return os.open(path, (os.O_RDWR if fifo else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC)

    def open_files(self, proc: Path, pid: int) -> list[str]:
        """See the protocol. Any user's process may have a million others open, of any length: none is kept."""
        targets = set()
        with os.scandir(proc / str(pid) / "fd") as entries:
            for entry in entries:
                try:
                    target = os.readlink(entry.path)
                except OSError:
                    continue  # closed meanwhile
                if DEVICE_NODE.match(target):
                    targets.add(target)
        return sorted(targets)

    def environment(self, proc: Path, pid: int) -> dict[str, str]:
        """See the protocol."""
        raw = (proc / str(pid) / "environ").read_bytes()
        pairs = (entry.partition(b"=") for entry in raw.split(b"\0"))
        return {
            name.decode(): value.decode(errors="replace")
            for name, equals, value in pairs
            if equals and len(value) <= VALUE_BYTES and name.decode(errors="replace") in ENVIRONMENT_ALLOWED
        }

    def traffic(self, proc: Path, pid: int) -> tuple[int, int]:
        """See the protocol."""
        found = dict(_IO_LINE.findall((proc / str(pid) / "io").read_text()))
        if len(found) != 2:
            raise ValueError(f"{proc}/{pid}/io: no read_bytes and write_bytes")
        return int(found["read_bytes"]), int(found["write_bytes"])

    def open_process_events(self) -> socket.socket:
        """See the protocol."""
        return open_connector(self._events)

    def hccn_tool(self, argv: Sequence[str], timeout: float) -> Output:
        """See the protocol."""
        return self._runner.run(argv, timeout)


class HccnRunner:
    """A `Runner` that takes its calls through the privileged side."""

    def __init__(self, reads: PrivilegedReads) -> None:
        self._reads = reads

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        """See `Runner.run`."""
        return self._reads.hccn_tool(argv, timeout)
