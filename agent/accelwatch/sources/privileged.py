"""Reads that need privileges, behind one protocol: they may move into a root helper without network."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from accelwatch.privileged.local import DEVICE_NODE, ENVIRONMENT_ALLOWED, HCCN_INSTALLED, VALUE_BYTES, LocalReads

if TYPE_CHECKING:
    from accelwatch.sources.commands import Output

__all__ = [
    "DEVICE_NODE",
    "ENVIRONMENT_ALLOWED",
    "HCCN_INSTALLED",
    "VALUE_BYTES",
    "HccnRunner",
    "LocalReads",
    "PrivilegedReads",
]


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


class HccnRunner:
    """A `Runner` that takes its calls through the privileged side."""

    def __init__(self, reads: PrivilegedReads) -> None:
        self._reads = reads

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        """See `Runner.run`."""
        return self._reads.hccn_tool(argv, timeout)
