"""The executables `npu-smi` and `hccn_tool` of a simulated node.

They are clients without a mind of their own: each call hands its arguments to a `Server` on a Unix socket beside them,
in the simulator's process, and prints what comes back. So a call costs the start of a bare Python and no more, and the
server sees who calls what, and when two call at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

from accelwatch.simulator.tool_client import SCRIPT
from accelwatch.simulator.tool_server import Server

__all__ = ["SOCKET", "TOOLS", "Server", "install"]

SOCKET = "tools.sock"
TOOLS = ("npu-smi", "hccn_tool")


def install(directory: Path) -> None:
    """Writes both executables into `directory`, for a server at `SOCKET` in it."""
    for name in TOOLS:
        path = directory / name
        path.write_text(SCRIPT.format(python=sys.executable, tool=name, directory=str(directory), socket=SOCKET))
        path.chmod(0o755)
