"""The Unix socket between the commands and the running agent: one JSON line in, one out."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MODE = 0o660
LINE_LIMIT_BYTES = 65536
# A client that says nothing holds up the next one for no longer than this.
CLIENT_SECONDS = 2.0
_AGAIN_SECONDS = 0.1


class ControlUnreachable(Exception):
    """No agent answers on this socket."""


class ControlError(Exception):
    """The agent could not do what it was asked to."""


class ControlListener:
    """Answers one client after the other in a thread of its own, so that scrapes never wait for a command.

    `report` is told when `answer` raised; the client gets the error, the next one is served.
    """

    def __init__(
        self,
        path: Path,
        answer: Callable[[bytes], bytes],
        report: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        """Listens on `path`, replacing a socket that nobody answers on. Raises `OSError`."""
        self._path = path
        self._answer = answer
        self._report = report
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise OSError(errno.EEXIST, "this is not a socket; move it away or choose another state_dir")
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
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Starts answering."""
        self._thread.start()

    def close(self) -> None:
        """Stops listening and takes the socket file away."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accept
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError:  # closed, or out of file descriptors for a while
                self._stopping.wait(_AGAIN_SECONDS)
                continue
            with client, contextlib.suppress(OSError):
                line = _read_line(client, time.monotonic() + CLIENT_SECONDS)
                if line:
                    answer = self._answer_or_error(line)
                    client.settimeout(CLIENT_SECONDS)
                    client.sendall(answer + b"\n")

    def _answer_or_error(self, line: bytes) -> bytes:
        try:
            return self._answer(line)
        except Exception as error:  # noqa: BLE001 - a loop edge: one command's flaw must not end the socket
            if self._report is not None:
                self._report("control socket", error)
            text = f"failed inside: {type(error).__name__}: {error}; the log says where"
            return json.dumps({"error": text}).encode()


def ask(path: Path, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Asks the agent. Raises `ControlUnreachable` when there is none, `ControlError` when it refuses or fails."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)) as client:
        client.settimeout(timeout)
        try:
            with _short(path) as name:
                client.connect(name)
        except OSError as error:
            hint = (
                "run this as root or in the agent's group" if isinstance(error, PermissionError) else "is it running?"
            )
            raise ControlUnreachable(f"no agent answers on {path} ({error.strerror or error}): {hint}") from error
        try:
            client.sendall(json.dumps(request).encode() + b"\n")
            chunks = []
            while chunk := client.recv(1 << 16):
                chunks.append(chunk)
            answer = json.loads(b"".join(chunks))
        except (OSError, ValueError) as error:
            raise ControlError(f"the agent on {path} gave no usable answer within {timeout:g} s: {error}") from error
    if not isinstance(answer, dict):
        raise ControlError(f"the agent on {path} gave no JSON object")
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


def _read_line(client: socket.socket, deadline: float) -> bytes:
    """The request, or nothing when it is longer than it may be. Raises `TimeoutError` past `deadline`."""
    data = b""
    while b"\n" not in data:
        if len(data) >= LINE_LIMIT_BYTES:
            return b""
        client.settimeout(max(0.001, deadline - time.monotonic()))
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
