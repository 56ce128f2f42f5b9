"""One post: bounded in time and size, straight to its address, and what a refusal says."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accelwatch.config import BasicAuth
from accelwatch.pager import address, post
from accelwatch.pager.post import Poster, PostError, Refused

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """A server of one answer; `requests` are what it read."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> address.Address:
        return address.parse(f"http://127.0.0.1:{self.port}/am")

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with client, contextlib.suppress(OSError):
                    self.requests.append(_request(client))
                    self._answer(client)

    def close(self) -> None:
        self._socket.close()


def _request(client: socket.socket) -> bytes:
    """Head and body, which may come in two parts."""
    data = client.recv(65536)
    found = re.search(rb"Content-Length: (\d+)\r\n", data)
    while found is not None and len(data.partition(b"\r\n\r\n")[2]) < int(found[1]):
        data += client.recv(65536)
    return data


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(answer: Callable[[socket.socket], None] | bytes = OK) -> Peer:
        made.append(Peer((lambda client: client.sendall(answer)) if isinstance(answer, bytes) else answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_list_of_alerts_is_posted_as_json(peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the URL's prefix, and past any proxy of the shell."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server = peer()
    Poster(server.address).post(post.encode([{"labels": {"a": "ü"}}]))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /am/api/v2/alerts HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert body.decode() == '[{"labels":{"a":"ü"}}]'


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (b"400 Bad Request", Refused, "answered 400 Bad Request: label a: no"),
        (b"422 Unprocessable", Refused, "answered 422"),
        (b"401 Unauthorized", PostError, "answered 401"),
        (b"404 Not Found", PostError, "answered 404"),
        (b"429 Too Many", PostError, "answered 429"),
        (b"503 Unavailable", PostError, "answered 503"),
        (b"302 Found\r\nLocation: http://other/", PostError, "answered 302 Found to http://other/: give that URL"),
    ],
)
def test_an_answer_that_is_no_success_says_what_alertmanager_said(
    peer: Callable[..., Peer], status: bytes, kind: type[PostError], said: str
) -> None:
    server = peer(b"HTTP/1.1 " + status + b"\r\nContent-Length: 12\r\n\r\nlabel a:\n no")
    with pytest.raises(PostError) as caught:
        Poster(server.address).post(b"[]")
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert f"127.0.0.1:{server.port}/am: " in str(caught.value)


def test_a_password_comes_from_its_file_each_time(peer: Callable[..., Peer], tmp_path: Path) -> None:
    """Without it nothing is sent, and the message names the file."""
    server, path = peer(), tmp_path / "password"
    poster = Poster(server.address, BasicAuth(username="accelwatch", password_file=str(path)))
    with pytest.raises(PostError, match=f"password_file: {path}: cannot be read"):
        poster.post(b"[]")
    assert server.requests == []
    path.write_text("geheim\n")
    poster.post(b"[]")
    assert b"Authorization: Basic " + base64.b64encode(b"accelwatch:geheim") in server.requests[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 100_000,
    ],
    ids=["nothing", "nonsense", "endless"],
)
def test_what_is_no_answer_is_a_failure_in_words(peer: Callable[..., Peer], answer: bytes) -> None:
    server = peer(answer)
    with pytest.raises(PostError, match=f"127.0.0.1:{server.port}/am: "):
        Poster(server.address).post(b"[]")


def test_nobody_there_is_a_failure_in_words() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(PostError, match="Connection refused"):
        Poster(address.parse(f"http://127.0.0.1:{port}")).post(b"[]")
    with pytest.raises(PostError):
        Poster(address.parse(f"http://{'x' * 70}.example:{port}")).post(b"[]")


def test_a_peer_that_drips_bytes_is_cut_off(peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time; all together they never end."""
    monkeypatch.setattr(post, "WHOLE_SECONDS", 0.5)

    def drip(client: socket.socket) -> None:
        while True:
            client.sendall(b"H")
            time.sleep(0.05)

    server = peer(drip)
    began = time.monotonic()
    with pytest.raises(PostError):
        Poster(server.address).post(b"[]")
    assert time.monotonic() - began < 3


def test_a_peer_that_says_nothing_is_given_up(peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "STEP_SECONDS", 0.3)
    server = peer(lambda _client: time.sleep(2))
    with pytest.raises(PostError, match=r"no answer within 0\.3 s"):
        Poster(server.address).post(b"[]")


@pytest.mark.parametrize(
    ("date", "seconds"), [("Thu, 01 Jan 2026 00:00:00 GMT", 1_767_225_600.0), ("soon", None), ("Thu, 99", None)]
)
def test_the_peers_own_time_is_told(peer: Callable[..., Peer], date: str, seconds: float | None) -> None:
    server = peer(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
    assert Poster(server.address).post(b"[]") == seconds


def test_an_answer_of_any_length_costs_4_kb(peer: Callable[..., Peer]) -> None:
    def flood(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            client.sendall(b"x" * 65536)

    Poster(peer(flood).address).post(b"[]")


def test_a_peer_of_another_certificate_is_not_told(peer: Callable[..., Peer]) -> None:
    """TLS by the system's own trust: plain text on that port is no Alertmanager."""
    server = peer()
    with pytest.raises(PostError):
        Poster(address.parse(f"https://127.0.0.1:{server.port}")).post(b"[]")
    assert b"alerts" not in b"".join(server.requests)


@pytest.mark.parametrize(
    ("url", "name", "path"),
    [
        ("http://am:9093", "am:9093", "/api/v2/alerts"),
        ("https://am.example/prefix/", "am.example:443/prefix", "/prefix/api/v2/alerts"),
        ("http://[::1]:9093/", "[::1]:9093", "/api/v2/alerts"),
    ],
)
def test_addresses(url: str, name: str, path: str) -> None:
    parsed = address.parse(url)
    assert (parsed.name, parsed.path) == (name, path)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("am:9093", "expected the base URL"),
        ("ftp://am", "expected the base URL"),
        ("http://", "expected the base URL"),
        ("http://am:port", "expected the base URL"),
        ("http://am/a b", "expected the base URL"),
        ("http://am/?x=1", "without `\\?` and `#`"),
        ("http://am:9093/api/v2/alerts", "is added by the agent"),
        ("http://me:secret@am:9093", "no user or password in a URL"),
    ],
)
def test_what_is_no_address_is_told(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        address.parse(url)
    assert "secret" not in str(caught.value)
