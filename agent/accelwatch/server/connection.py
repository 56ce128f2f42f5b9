"""One client connection: bytes in, bytes out, never blocking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

HEAD_LIMIT_BYTES = 8192
# A request head comes in one packet from anybody who means well.
HEAD_SECONDS = 10.0
# A scraper takes a page of 200 kB in milliseconds.
WRITE_SECONDS = 10.0
# A password is checked in the order of arrival: beside a guesser with many connections that may take a while.
PASSWORD_SECONDS = 30.0
# Prometheus keeps connections between scrapes, most often a minute apart at the slowest.
IDLE_SECONDS = 120.0

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class Request(msgspec.Struct, frozen=True):
    """A GET or HEAD request, as far as it matters here."""

    path: str
    query: str
    accept: str
    accept_encoding: str
    authorization: str = ""
    head_alone: bool = False

    def __repr__(self) -> str:
        """Without credentials: it may stand in a log."""
        return f"Request({self.path!r})"


class Response(msgspec.Struct, frozen=True):
    """What goes back."""

    status: int
    content_type: str
    body: bytes
    content_encoding: str | None = None


class Refusal(Exception):
    """A request that is answered with an error, after which the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Stream(Protocol):
    """A socket that does not block, encrypted or not."""

    def fileno(self) -> int: ...  # noqa: D102

    def recv(self, size: int, /) -> bytes: ...  # noqa: D102

    def send(self, data: memoryview, /) -> int: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class HttpConnection:
    """The states of an HTTP connection: reading a head, writing an answer, idle until the next head.

    One request is answered per turn, however many came in one packet: others have their turn in between. Where `answer`
    gives `None`, the connection waits until `resume` brings the answer. `extra` are header lines for every answer.
    """

    def __init__(
        self,
        client: Stream,
        now: float,
        answer: Callable[[HttpConnection, Request], Response | None],
        extra: bytes = b"",
    ) -> None:
        self.socket = client
        self.watched = 0
        self._answer = answer
        self._extra = extra
        self._incoming = bytearray()
        self._outgoing = memoryview(b"")
        self._waiting: Request | None = None
        self._close_after = False
        self._ended = False  # the client sends no more, but may still read
        self.deadline = now + HEAD_SECONDS

    @property
    def wants_to_read(self) -> bool:
        """Whether more may come: not past the end, and not while a full head or a flood waits."""
        return not self._ended and len(self._incoming) <= HEAD_LIMIT_BYTES and self._waiting is None

    @property
    def wants_to_write(self) -> bool:
        """Whether an answer is under way, or due to a request that has come already."""
        return bool(self._outgoing) or (self._request_waits and self._waiting is None)

    @property
    def _request_waits(self) -> bool:
        return len(self._incoming) > HEAD_LIMIT_BYTES or b"\r\n\r\n" in self._incoming

    @property
    def idle(self) -> bool:
        """Whether it is between two requests."""
        return not self._outgoing and not self._incoming and self._waiting is None

    def readable(self, now: float) -> bool:
        """Takes what has come; False when the connection is to be closed."""
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not data:  # `nc -N` and the like close their half at once and read on
            self._ended = True
            return self.wants_to_write
        if not self._incoming:
            self.deadline = now + HEAD_SECONDS
        self._incoming += data
        if self._outgoing or not self._request_waits:
            return True
        return self._next(now)

    def writable(self, now: float) -> bool:
        """Sends on, or answers the next waiting request; False when the connection is to be closed."""
        return self._send(now) if self._outgoing else self._next(now)

    def _send(self, now: float) -> bool:
        try:
            sent = self.socket.send(self._outgoing)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        self._outgoing = self._outgoing[sent:]
        if self._outgoing:
            return True
        if self._close_after or (self._ended and not self._request_waits):
            return False
        self.deadline = now + (HEAD_SECONDS if self._incoming else IDLE_SECONDS)
        return True

    def _next(self, now: float) -> bool:
        end = self._incoming.find(b"\r\n\r\n")
        try:
            if end < 0 or end > HEAD_LIMIT_BYTES:
                raise Refusal(431, f"the request head is longer than {HEAD_LIMIT_BYTES} bytes")
            head = bytes(self._incoming[:end])
            del self._incoming[: end + 4]
            request, keep = parse_head(head)
            self._close_after = self._close_after or not keep
            response = self._answer(self, request)
        except Refusal as refusal:
            request = None
            response = Response(refusal.status, "text/plain; charset=utf-8", f"{refusal}\n".encode())
            self._close_after = True
        if response is None:
            self._waiting = request
            self.deadline = now + PASSWORD_SECONDS
            return True
        return self._begin(request, response, now)

    def resume(self, response: Response, now: float) -> bool:
        """Sends the answer that was waited for; False when the connection is to be closed."""
        request, self._waiting = self._waiting, None
        return self._begin(request, response, now)

    def end_soon(self) -> None:
        """The answer under way, or the next one, is the last."""
        self._close_after = True

    def _begin(self, request: Request | None, response: Response, now: float) -> bool:
        data = encode(response, self._close_after, self._extra, request is not None and request.head_alone)
        self._outgoing = memoryview(data)
        self.deadline = now + WRITE_SECONDS
        return self._send(now)


def parse_head(head: bytes) -> tuple[Request, bool]:
    """The request, and whether the connection stays. Raises `Refusal`."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/"):
        raise Refusal(400, "not an HTTP request")
    method, target, version = parts
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise Refusal(505, "expected HTTP/1.0 or HTTP/1.1")
    if method not in ("GET", "HEAD"):
        raise Refusal(405, "only GET and HEAD are answered here")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refusal(400, "a header line without a name")
        key = name.lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise Refusal(413, "a request with a body is not answered here")
    path, _, query = target.partition("?")
    connection = headers.get("connection", "").lower()
    keep = "keep-alive" in connection if version == "HTTP/1.0" else "close" not in connection
    request = Request(
        path,
        query,
        headers.get("accept", ""),
        headers.get("accept-encoding", ""),
        headers.get("authorization", ""),
        method == "HEAD",
    )
    return request, keep


def encode(response: Response, close: bool, extra: bytes = b"", head_alone: bool = False) -> bytes:
    """What goes over the wire."""
    head = (
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Status')}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n"
        "X-Content-Type-Options: nosniff\r\n"
    )
    if response.content_encoding:
        head += f"Content-Encoding: {response.content_encoding}\r\nVary: Accept, Accept-Encoding\r\n"
    if response.status == 401:
        head += 'WWW-Authenticate: Basic realm="accelwatch", charset="UTF-8"\r\n'
    elif response.status == 405:
        head += "Allow: GET, HEAD\r\n"
    return head.encode() + extra + b"\r\n" + (b"" if head_alone else response.body)
