"""Answers the simulated tools' calls, and notes what the real ones do not forgive: two calls at once."""

from __future__ import annotations

import collections
import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from accelwatch.simulator import hccn_tool, npu_smi
from accelwatch.simulator.answer import Answer, encoded
from accelwatch.simulator.state import Node

# How often a blocked call looks whether it is released.
LOOK_SECONDS = 0.05
_REQUEST_SECONDS = 5.0


def answer_of(tool: str, node: Node, argv: Sequence[str]) -> Answer:
    """What `tool` answers on `node`. Raises `ValueError` for a tool that there is not."""
    if tool == "npu-smi":
        return npu_smi.answer(node, argv)
    if tool == "hccn_tool":
        return hccn_tool.answer(node, argv)
    raise ValueError(f"no simulated tool {tool!r}")


class Server:
    """Serves one node's tools on a Unix socket until it is closed.

    `calls` counts by tool and arguments; `overlaps` by tool counts calls that came while another of the same tool
    had not ended (a caller that was killed has ended). Both may be read at any time.
    """

    def __init__(self, socket_path: Path, node: Callable[[], Node]) -> None:
        """`node` gives the present state; it is called from the threads of calls, several at a time."""
        self.calls: collections.Counter[tuple[str, ...]] = collections.Counter()
        self.overlaps: collections.Counter[str] = collections.Counter()
        self._path = socket_path
        self._node = node
        self._lock = threading.Lock()
        self._active: dict[socket.socket, str] = {}
        self._stop = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="simulated-tools", daemon=True)

    def start(self) -> None:
        """Listens from when this returns. Raises `OSError`."""
        self._path.unlink(missing_ok=True)
        # Through a descriptor of its directory, since a socket's path may have 107 bytes only (unix(7)).
        home = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self._listener.bind(f"/proc/self/fd/{home}/{self._path.name}")
        finally:
            os.close(home)
        self._path.chmod(0o666)  # an agent that is another user calls the tools, too
        self._listener.listen(64)
        self._listener.settimeout(LOOK_SECONDS)
        self._acceptor.start()

    def close(self) -> None:
        """Ends within a second; calls under way end with status 1."""
        self._stop.set()
        if self._acceptor.is_alive():
            self._acceptor.join(1.0)
        self._listener.close()
        for thread in self._threads:
            thread.join(1.0)
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(_REQUEST_SECONDS)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._call, args=(connection,), name="simulated-tool", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _call(self, connection: socket.socket) -> None:
        # A caller that was killed meanwhile is no error of ours.
        with connection, contextlib.suppress(OSError):
            try:
                words = _request(connection)
                if not words:
                    return
                self._begin(connection, words)
                answer = self._wait(connection, words[0], words[1:])
                if answer is not None:
                    stdout, stderr = encoded(answer)
                    connection.settimeout(None)
                    connection.sendall(b"%d %d\n" % (answer.status, len(stdout)) + stdout + stderr)
            finally:
                with self._lock:
                    self._active.pop(connection, None)

    def _begin(self, connection: socket.socket, words: Sequence[str]) -> None:
        with self._lock:
            self.calls[tuple(words)] += 1
            for other in [one for one in self._active if _hung_up(one)]:
                del self._active[other]
            if words[0] in self._active.values():
                self.overlaps[words[0]] += 1
            self._active[connection] = words[0]

    def _wait(self, connection: socket.socket, tool: str, argv: Sequence[str]) -> Answer | None:
        """The answer when it is due; `None` when the caller is gone or the server closes."""
        began = time.monotonic()
        while True:
            answer = answer_of(tool, self._node(), argv)
            left = began + answer.delay_seconds - time.monotonic()
            if not answer.block and left <= 0:
                return answer
            if _hung_up(connection, LOOK_SECONDS if answer.block else min(left, LOOK_SECONDS)) or self._stop.is_set():
                return None


def _request(connection: socket.socket) -> list[str]:
    """The tool and its arguments; [] when the caller ended in the middle of them."""
    data = b""
    while b"\n" not in data:
        data += (part := connection.recv(4096))
        if not part:
            return []
    head, _, body = data.partition(b"\n")
    while len(body) < int(head):
        body += (part := connection.recv(4096))
        if not part:
            return []
    return [os.fsdecode(word) for word in body.split(b"\0")]


def _hung_up(connection: socket.socket, seconds: float = 0.0) -> bool:
    """Whether the caller is gone, waiting up to `seconds` for it; a caller sends nothing after its request."""
    readable, _, _ = select.select([connection], [], [], seconds)
    return bool(readable)
