"""What a client of the HTTP server may send, in pieces of any size."""

import msgspec

from accelwatch.server.connection import HEAD_LIMIT_BYTES, HttpConnection, Request, Response
from accelwatch.server.http import Server

READ_BYTES = 65536


def seeds() -> list[bytes]:
    get = b"GET /metrics HTTP/1.1\r\nHost: n:9817\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n"
    return [
        get + b"Accept-Encoding: gzip\r\n\r\n",
        get + b"Authorization: Basic YTpi\r\nConnection: close\r\n\r\n" * 2,
        b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 3,
        b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /a?b=c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nA: b\r\n c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]


class Wire:
    """A client that sends its bytes in pieces, and takes as much as it likes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = 1 + (sum(data[:7]) * 97) % 3000
        self.sent = 0
        self.closed = False

    def fileno(self) -> int:
        return -1

    def recv(self, size: int) -> bytes:
        piece, self.data = self.data[: min(size, self.size)], self.data[min(size, self.size) :]
        return piece

    def send(self, data: memoryview) -> int:
        taken = min(len(data), self.size)
        self.sent += taken
        return taken

    def close(self) -> None:
        self.closed = True


def one(data: bytes) -> None:
    wire = Wire(data)
    server = _SERVER
    asked: list[Request] = []

    def answer(_connection: HttpConnection, request: Request) -> Response:
        asked.append(request)
        return server._answer(request)

    connection = HttpConnection(wire, 0.0, answer)
    for _ in range(4 * len(data) + 5000):
        stays = True
        if connection.wants_to_read:
            stays = connection.readable(1.0)
        elif connection.wants_to_write:
            stays = connection.writable(1.0)
        else:
            raise AssertionError("it waits for nothing")
        assert len(connection._incoming) <= HEAD_LIMIT_BYTES + READ_BYTES
        assert connection.deadline > 1.0 or wire.sent == 0
        if not stays:
            break
        if connection.wants_to_write:
            stays = connection.writable(1.0)
            if not stays:
                break
    else:
        raise AssertionError("it does not end")
    for request in asked:
        assert repr(request) == repr(msgspec.structs.replace(request, authorization="another"))


_SERVER = Server({"/metrics": lambda _request: Response(200, "text/plain", b"page")}, report=lambda _path, _error: None)
