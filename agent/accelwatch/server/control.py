"""The Unix socket between the commands and the running agent: one JSON line in, one out."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MODE = 0o660
LINE_LIMIT_BYTES = 65536
# A client that says nothing holds up the next one for no longer than this.
CLIENT_SECONDS = 2.0


class ControlUnreachable(Exception):
    """No agent answers on this socket."""


class ControlError(Exception):
    """The agent could not do what it was asked to."""


class ControlListener:
    """Answers one client after the other in a thread of its own, so that scrapes never wait for a command."""

    def __init__(self, path: Path, answer: Callable[[bytes], bytes]) -> None:
        """Listens on `path`, replacing a socket that nobody answers on. Raises `OSError`."""
        self._path = path
        self._answer = answer
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe, _short(path) as name:
                probe.settimeout(1.0)
                with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
                    probe.connect(name)
                    raise OSError(errno.EADDRINUSE, "another accelwatch agent is running with this state_dir")
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with _short(path) as name:
            self._socket.bind(name)
        os.chmod(path, MODE)
        self._socket.listen(16)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Starts answering."""
        self._thread.start()

    def close(self) -> None:
        """Stops listening and takes the socket file away."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accept
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _run(self) -> None:
        while not self._stopping:
            try:
                client, _ = self._socket.accept()
            except OSError:
                if self._stopping:
                    return
                continue
            with client, contextlib.suppress(OSError):
                client.settimeout(CLIENT_SECONDS)
                line = _read_line(client)
                if line:
                    client.sendall(self._answer(line) + b"\n")


def ask(path: Path, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Asks the agent. Raises `ControlUnreachable` when there is none, `ControlError` when it refuses or fails."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)) as client:
        client.settimeout(timeout)
        try:
            with _short(path) as name:
                client.connect(name)
        except OSError as error:
            raise ControlUnreachable(f"no agent answers on {path} ({error.strerror}): is it running?") from error
        try:
            client.sendall(json.dumps(request).encode() + b"\n")
            chunks = []
            while chunk := client.recv(1 << 16):
                chunks.append(chunk)
            answer: dict[str, Any] = json.loads(b"".join(chunks))
        except (OSError, ValueError) as error:
            raise ControlError(f"the agent on {path} gave no usable answer within {timeout:g} s: {error}") from error
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


def _read_line(client: socket.socket) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < LINE_LIMIT_BYTES:
        chunk = client.recv(4096)
        if not chunk:
            return data
        data += chunk
    return data.partition(b"\n")[0]


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for the socket that fits into 108 bytes, however deep the state directory lies."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
