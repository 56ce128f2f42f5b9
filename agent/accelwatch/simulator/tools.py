"""The executables `npu-smi` and `hccn_tool` of a simulated node.

They are clients without a mind of their own: each call hands its arguments to a `Server` on a Unix socket, in the
simulator's process, and prints what comes back. So a call costs the start of a bare Python and no more, and the
server sees who calls what, and when two call at once. Without a socket the executables print the node's state file
(`write`), which takes longer to start but needs nobody to serve.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from accelwatch.simulator.answer import Answer, encoded
from accelwatch.simulator.state import Node
from accelwatch.simulator.tool_client import SCRIPT
from accelwatch.simulator.tool_server import Server, answer_of

__all__ = ["STATE", "TOOLS", "Server", "install", "main", "write"]

STATE = "state.json"
TOOLS = ("npu-smi", "hccn_tool")
# sockaddr_un holds 108 bytes with the closing NUL (unix(7)).
_SOCKET_PATH_LIMIT = 107


def install(directory: Path, socket_path: Path | None = None) -> None:
    """Writes both executables into `directory`, for the server at `socket_path`, or for the state file beside them.

    Raises `ValueError` when the socket's path is too long for the kernel.
    """
    if socket_path is not None and len(os.fsencode(socket_path)) > _SOCKET_PATH_LIMIT:
        raise ValueError(f"{socket_path}: longer than the {_SOCKET_PATH_LIMIT} bytes that a socket's path may have")
    for name in TOOLS:
        path = directory / name
        if socket_path is None:
            text = f"#!{sys.executable} -E\nfrom accelwatch.simulator.tools import main\nmain({name!r}, {str(directory)!r})\n"
        else:
            text = SCRIPT.format(python=sys.executable, tool=name, socket=str(socket_path))
        path.write_text(text)
        path.chmod(0o755)


def write(directory: Path, node: Node) -> None:
    """Shows the node's present state, whole or not at all."""
    scratch = directory / f".{STATE}.new"
    scratch.write_bytes(msgspec.json.encode(node))
    scratch.replace(directory / STATE)


def main(name: str, directory: str) -> None:
    """One call of a tool without a server; ends the process with the tool's status."""
    argv = sys.argv[1:]
    answer = _answer(name, directory, argv)
    while answer.block:
        time.sleep(0.1)
        answer = _answer(name, directory, argv)
    time.sleep(answer.delay_seconds)
    for stream, text in zip((sys.stdout.buffer, sys.stderr.buffer), encoded(answer), strict=True):
        stream.write(text)
        stream.flush()
    os._exit(answer.status)


def _answer(name: str, directory: str, argv: list[str]) -> Answer:
    return answer_of(name, msgspec.json.decode(Path(directory, STATE).read_bytes(), type=Node), argv)
