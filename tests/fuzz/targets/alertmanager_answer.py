"""What answers where an Alertmanager should."""

import contextlib
import http.client
import io

from accelwatch.pager.address import parse
from accelwatch.pager.post import Poster, PostError


class Wire:
    """A socket whose other side says these bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def sendall(self, _data: object) -> None:
        pass

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)

    def shutdown(self, _how: int) -> None:
        pass

    def close(self) -> None:
        pass


class Connection(http.client.HTTPConnection):
    """To such a peer."""

    def __init__(self, data: bytes) -> None:
        super().__init__("alertmanager.example", 9093)
        self._data = data

    def connect(self) -> None:
        self.sock = Wire(self._data)


class Fuzzed(Poster):
    data = b""

    def _connection(self) -> http.client.HTTPConnection:
        return Connection(self.data)


def seeds() -> list[bytes]:
    return [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 12\r\n\r\nbad matchers",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ]


def one(data: bytes) -> None:
    poster = Fuzzed(parse("http://alertmanager.example:9093"))
    poster.data = data
    with contextlib.suppress(PostError):
        poster.post(b"[]")
