"""One thread, all connections: a silent or slow client costs a file descriptor and delays nobody.

prometheus_client's own server has a listen backlog of 5, a thread per connection without bound or time-out, and
shakes hands for TLS in the accepting thread (reference/stack_facts.md section 3); this one has none of these.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from accelwatch.server.connection import HttpConnection, Request, Response
from accelwatch.server.control import ControlListener

__all__ = ["Request", "Response", "Server", "ServerError"]

CONNECTION_LIMIT = 256
BACKLOG = 512
_CHECK_SECONDS = 1.0
# So many new connections are taken before those that are open have their turn.
_ACCEPTED_AT_ONCE = 64
# With no file descriptor left and nothing of ours to close, only waiting helps.
_NO_DESCRIPTOR_SECONDS = 0.05
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TEXT = "text/plain; charset=utf-8"

Handler = Callable[[Request], Response]


class ServerError(Exception):
    """An address cannot be listened on; the message says which and what to do."""


class Server:
    """Answers GET requests from `routes`, which map a path to what answers it.

    `report` is told of a handler that raised; its client gets status 500, and `failed` counts it. `refused` counts
    connections that were closed to make room.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        report: Callable[[str, BaseException], None],
        connections: int = CONNECTION_LIMIT,
    ) -> None:
        """`connections`: so many stay open at most."""
        self._routes = dict(routes)
        self._limit = connections
        self._report = report
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._connections: dict[int, HttpConnection] = {}
        self._control: ControlListener | None = None
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self.refused = 0
        self.failed = 0

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def connections(self) -> int:
        """Open HTTP connections."""
        return len(self._connections)

    def listen(self, address: str) -> tuple[str, int]:
        """Listens on `HOST:PORT` (IPv6 in brackets); gives the address got. Raises `ServerError`."""
        host, _, digits = address.rpartition(":")
        host = host.strip("[]")
        port = int(digits) if digits.isascii() and digits.isdigit() else -1
        if not 0 <= port <= 65535:
            raise ServerError(f"cannot listen on {address}: expected HOST:PORT such as 0.0.0.0:9817; check `listen`")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            hint = (
                "another process has it; choose another `listen`"
                if error.errno == errno.EADDRINUSE
                else "check `listen`"
            )
            raise ServerError(f"cannot listen on {address}: {error.strerror}; {hint}") from error
        listener.setblocking(False)
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, listener)
        name = listener.getsockname()
        return str(name[0]), int(name[1])

    def listen_control(self, path: Path, answer: Callable[[bytes], bytes]) -> None:
        """Opens the Unix socket for commands, one JSON line each way. Raises `ServerError`."""
        try:
            self._control = ControlListener(path, answer, self._report)
        except OSError as error:
            raise ServerError(f"control socket {path}: {error.strerror or error}") from error

    def start(self) -> None:
        """Starts answering."""
        self._thread.start()
        if self._control is not None:
            self._control.start()

    def close(self) -> None:
        """Ends within a second; answers under way are cut."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")
        if self._thread.is_alive():
            self._thread.join(1.0)
        if self._control is not None:
            self._control.close()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        for ours in (*self._listeners, self._wake_read, self._wake_write):
            ours.close()

    def _run(self) -> None:
        checked = time.monotonic()
        while not self._stopping:
            timeout = _CHECK_SECONDS if self._connections else None
            for key, events in self._selector.select(timeout):
                if isinstance(key.data, HttpConnection):
                    self._serve(key.data, events)
                elif key.data is not None:
                    self._accept(key.data)
            now = time.monotonic()
            if now - checked >= _CHECK_SECONDS:
                checked = now
                for connection in [c for c in self._connections.values() if c.deadline < now]:
                    self._drop(connection)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, _address = listener.accept()
            except OSError as error:
                # Out of file descriptors: make room, or the listener would wake us for ever. Anything else is
                # nobody there any more (EAGAIN), or one client that has gone already (accept(2), "Error handling").
                if error.errno in _OUT_OF_DESCRIPTORS and not self._make_room():
                    time.sleep(_NO_DESCRIPTOR_SECONDS)
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self._connections) >= self._limit:
                self._make_room()
            connection = HttpConnection(client, time.monotonic(), self._answer)
            self._connections[client.fileno()] = connection
            self._selector.register(client, selectors.EVENT_READ, connection)

    def _make_room(self) -> bool:
        """Closes the connection nearest to its deadline, idle ones first; False when there is none."""
        if not self._connections:
            return False
        self.refused += 1
        self._drop(min(self._connections.values(), key=lambda c: (not c.idle, c.deadline)))
        return True

    def _serve(self, connection: HttpConnection, events: int) -> None:
        now = time.monotonic()
        stays = True
        if events & selectors.EVENT_READ:
            stays = connection.readable(now)
        if stays and events & selectors.EVENT_WRITE and connection.wants_to_write:
            stays = connection.writable(now)
        if not stays:
            self._drop(connection)
            return
        wanted = selectors.EVENT_READ if connection.wants_to_read else 0
        wanted |= selectors.EVENT_WRITE if connection.wants_to_write else 0
        if self._selector.get_key(connection.socket).events != wanted:
            self._selector.modify(connection.socket, wanted, connection)

    def _drop(self, connection: HttpConnection) -> None:
        if self._connections.pop(connection.socket.fileno(), None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()

    def _answer(self, request: Request) -> Response:
        handler = self._routes.get(request.path)
        if handler is None:
            return Response(404, _TEXT, f"not here; try one of {' '.join(self._routes)}\n".encode())
        try:
            return handler(request)
        except Exception as error:  # noqa: BLE001 - a loop edge: one page's flaw must not end the server
            self.failed += 1
            self._report(request.path, error)
            return Response(500, _TEXT, b"this page could not be made; the agent's log says why\n")
