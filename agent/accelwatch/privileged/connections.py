"""Where the root helper is asked: connections of the agent's user, one question each, some at once and not too many."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Collection

from accelwatch.privileged.wire import QUESTION_BYTES, Answer

# The agent's sources ask one at a time each: kernel log, processes, events, hccn_tool.
AT_ONCE = 8
# One look through the processes of a busy node is some thousand questions; more in a second is not the agent's doing.
QUESTIONS_A_SECOND = 5000
CLIENT_SECONDS = 5.0
_CREDENTIALS = struct.Struct("3i")  # unix(7), struct ucred: pid, uid, gid
_SO_PEERGROUPS = 59  # asm-generic/socket.h, since Linux 4.13
_GROUPS_BYTES = 1024  # the most that Python asks for: 256 groups

Groups = Callable[[], Collection[int]]
# The line that was sent, and the groups of who asks; the answer, and a descriptor that goes with it and is closed then.
Answering = Callable[[bytes, Groups], tuple[Answer, int | None]]


class Connections:
    """Takes questions on `listener`, which is bound, from processes of `uid`."""

    def __init__(self, listener: socket.socket, uid: int, answer: Answering) -> None:
        self._listener = listener
        self._uid = uid
        self._answer = answer
        self._lock = threading.Lock()
        self._threads = self._waiting = 1
        self._second, self._asked = 0, 0

    def serve(self) -> None:
        """Until the listener is closed."""
        self._listener.listen(32)
        self._take_questions()

    def _take_questions(self) -> None:
        """On up to `AT_ONCE` threads. Each has another wait while it is at work, so that one that blocks holds up none;
        a thread for each question would be a third of what a question costs.
        """
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ECONNABORTED):
                    time.sleep(0.1)
                    continue
                return
            with self._lock:
                self._pace()
                self._waiting -= 1
                self._have_another_wait()
            try:
                self._serve_one(client)
            except Exception:  # noqa: BLE001 - a loop edge: who asked is closed out and asks again
                sys.excepthook(*sys.exc_info())
            with self._lock:
                self._waiting += 1

    def _have_another_wait(self) -> None:
        if self._waiting or self._threads >= AT_ONCE:
            return
        try:
            threading.Thread(target=self._take_questions, daemon=True).start()
        except RuntimeError:
            return  # no more threads on this host for now: one question after the other
        self._threads += 1
        self._waiting += 1

    def _pace(self) -> None:
        now = time.monotonic()
        if int(now) != self._second:
            self._second, self._asked = int(now), 0
        self._asked += 1
        if self._asked > QUESTIONS_A_SECOND:
            time.sleep(int(now) + 1 - now)

    def _serve_one(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(CLIENT_SECONDS)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(credentials)[1] != self._uid:
                return
            answer, opened = self._answer(_line(client), lambda: _groups(client))
            _send(client, answer, opened)


def _groups(client: socket.socket) -> frozenset[int]:
    """Those of the process that asks: its unit gives it more than its user has. Raises `OSError`."""
    primary = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[2]
    raw = client.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    return frozenset((primary, *struct.unpack(f"{len(raw) // 4}I", raw)))


def _line(client: socket.socket) -> bytes:
    deadline = time.monotonic() + CLIENT_SECONDS
    data = b""
    while b"\n" not in data:
        more = client.recv(QUESTION_BYTES + 1 - len(data))
        data += more
        if not more or len(data) > QUESTION_BYTES or time.monotonic() > deadline:
            raise OSError(errno.EMSGSIZE, "no question within bounds")
    return data


def _send(client: socket.socket, answer: Answer, opened: int | None) -> None:
    raw = answer.line()
    try:
        sent = socket.send_fds(client, [raw], [] if opened is None else [opened])
        client.sendall(raw[sent:])
    finally:
        if opened is not None:
            os.close(opened)


def listen(path: str, uid: int) -> socket.socket:
    """A socket at `path` for `uid` alone; one that an earlier helper left is replaced. Raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    if uid != os.geteuid():
        os.chown(path, uid, -1)
    return listener
