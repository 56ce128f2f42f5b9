"""One thread, all connections: a silent or slow client costs a file descriptor and delays nobody.

TLS handshakes are steps of the same loop that never wait, after those who are in already; passwords are checked in a
thread of their own. prometheus_client's own server has a listen backlog of 5, a thread per connection without bound or
time-out, and shakes hands for TLS in the accepting thread (reference/stack_facts.md section 3); this one has none of
these.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import functools
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from accelwatch.server.access import OPEN, Access
from accelwatch.server.basic_auth import Checker, Users
from accelwatch.server.connection import HttpConnection, Request, Response
from accelwatch.server.control import ControlListener
from accelwatch.server.tls import Handshake, HandshakeFailed, TlsStream

__all__ = ["Request", "Response", "Server", "ServerError"]

CONNECTION_LIMIT = 256
BACKLOG = 512
_CHECK_SECONDS = 1.0
# So many new connections are taken before those that are open have their turn.
_ACCEPTED_AT_ONCE = 64
# With no file descriptor left and nothing of ours to close, only waiting helps.
_NO_DESCRIPTOR_SECONDS = 0.05
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# An RSA key of 4096 bits takes 5 ms for a handshake: a flood of them must not hold up who is in already.
_HANDSHAKES_AT_ONCE = 8
_TEXT = "text/plain; charset=utf-8"
_UNAUTHORIZED = Response(401, _TEXT, b"a user and a password are needed here\n")

Handler = Callable[[Request], Response]


class ServerError(Exception):
    """An address cannot be listened on; the message says which and what to do."""


class Server:
    """Answers GET and HEAD requests from `routes`, which map a path to what answers it; open until `use` is called.

    `report` is told of a handler that raised; its client gets status 500, and `failed` counts it. `refused` counts
    connections that were closed to make room. `shut_out` is told of a client whose handshake failed: its address, and
    why.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        report: Callable[[str, BaseException], None],
        connections: int = CONNECTION_LIMIT,
        shut_out: Callable[[str, str], None] = lambda _address, _why: None,
    ) -> None:
        """`connections`: so many stay open at most."""
        self._routes = dict(routes)
        self._shut_out = shut_out
        self._access = self._next_access = OPEN
        self._checker: Checker | None = None
        self._checked: collections.deque[tuple[HttpConnection, Request, bool]] = collections.deque()
        self._limit = connections
        self._report = report
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._connections: dict[int, HttpConnection | Handshake] = {}
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

    def use(self, access: Access) -> None:
        """From now on this way in, from any thread; connections from before end with the answer under way."""
        self._next_access = access
        if not self._thread.is_alive():
            self._access = access
        self._wake()

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self._next_access.context is not None

    def start(self) -> None:
        """Starts answering."""
        self._thread.start()
        if self._control is not None:
            self._control.start()

    def close(self) -> None:
        """Ends within a second; answers under way are cut."""
        self._stopping = True
        self._wake()
        if self._checker is not None:
            self._checker.close()
        if self._thread.is_alive():
            self._thread.join(1.0)
        if self._control is not None:
            self._control.close()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        for ours in (*self._listeners, self._wake_read, self._wake_write):
            ours.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already
            self._wake_write.send(b"x")

    def _run(self) -> None:
        checked = time.monotonic()
        while not self._stopping:
            timeout = _CHECK_SECONDS if self._connections else None
            handshakes = 0
            for key, events in self._selector.select(timeout):
                connection = key.data
                if isinstance(connection, HttpConnection):
                    self._serve(connection, events)
                elif isinstance(connection, Handshake):
                    handshakes += 1  # beyond the bound it stays ready, and has its turn after all others
                    if handshakes <= _HANDSHAKES_AT_ONCE:
                        self._shake(connection)
                elif connection is not None:
                    self._accept(connection)
                else:
                    self._woken()
            now = time.monotonic()
            if now - checked >= _CHECK_SECONDS:
                checked = now
                for late in [c for c in self._connections.values() if c.deadline < now]:
                    self._drop(late)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
        while self._checked:
            connection, request, good = self._checked.popleft()
            if self._connections.get(connection.socket.fileno()) is connection:
                response = self._answer(request) if good else _UNAUTHORIZED
                self._watch(connection, connection.resume(response, time.monotonic()))
        if self._next_access is not self._access:
            self._access = self._next_access
            for old in list(self._connections.values()):
                if isinstance(old, HttpConnection) and not old.idle:
                    old.end_soon()
                else:
                    self._drop(old)

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
            if self._access.context is None:
                self._enter(HttpConnection(client, time.monotonic(), self._answerer(), self._access.headers))
            else:
                self._begin_tls(client)

    def _begin_tls(self, client: socket.socket) -> None:
        context, sans = self._access.context, self._access.allowed_sans
        assert context is not None  # noqa: S101 - for the type checker
        try:
            handshake = Handshake(client, context, sans, time.monotonic())
        except (OSError, ValueError):  # the client has gone already
            client.close()
            return
        self._enter(handshake)

    def _enter(self, connection: HttpConnection | Handshake) -> None:
        self._connections[connection.socket.fileno()] = connection
        connection.watched = selectors.EVENT_READ
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _shake(self, handshake: Handshake) -> None:
        try:
            wanted = handshake.step()
        except HandshakeFailed as error:
            self._shut_out(_peer(handshake.socket), str(error))
            self._drop(handshake)
            return
        if wanted is not None:
            if wanted != handshake.watched:
                handshake.watched = wanted
                self._selector.modify(handshake.socket, wanted, handshake)
            return
        self._selector.unregister(handshake.socket)
        stream = TlsStream(handshake.socket)
        connection = HttpConnection(stream, time.monotonic(), self._answerer(), self._access.headers)
        self._enter(connection)

    def _make_room(self) -> bool:
        """Closes the connection nearest to its deadline, idle ones and handshakes first; False when there is none."""
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
        self._watch(connection, stays)

    def _watch(self, connection: HttpConnection, stays: bool) -> None:
        """Waits for what the connection waits for, which is nothing while its password is checked."""
        if not stays:
            self._drop(connection)
            return
        wanted = selectors.EVENT_READ if connection.wants_to_read else 0
        wanted |= selectors.EVENT_WRITE if connection.wants_to_write else 0
        if connection.watched == wanted:
            return
        if not wanted:
            self._selector.unregister(connection.socket)
        elif not connection.watched:
            self._selector.register(connection.socket, wanted, connection)
        else:
            self._selector.modify(connection.socket, wanted, connection)
        connection.watched = wanted

    def _drop(self, connection: HttpConnection | Handshake) -> None:
        if self._connections.pop(connection.socket.fileno(), None) is not None:
            if connection.watched:
                self._selector.unregister(connection.socket)
            connection.socket.close()

    def _answerer(self) -> Callable[[HttpConnection, Request], Response | None]:
        """What answers the requests of a new connection."""
        users = self._access.users
        return self._answer_anybody if users is None else functools.partial(self._answer_user, users)

    def _answer_anybody(self, _connection: HttpConnection, request: Request) -> Response:
        return self._answer(request)

    def _answer_user(self, users: Users, connection: HttpConnection, request: Request) -> Response | None:
        known = users.known(request.authorization)
        if known is not None:
            return self._answer(request) if known else _UNAUTHORIZED
        if self._checker is None:
            self._checker = Checker()
        self._checker.submit(users, request.authorization, functools.partial(self._verdict, connection, request))
        return None

    def _verdict(self, connection: HttpConnection, request: Request, good: bool) -> None:
        self._checked.append((connection, request, good))
        self._wake()

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


def _peer(client: socket.socket) -> str:
    try:
        return str(client.getpeername()[0])
    except OSError:
        return "unknown"
