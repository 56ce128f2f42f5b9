"""One connection at a time, with a clock that is set: deadlines, pipelining and clients that end early."""

import socket
from collections.abc import Iterator

import pytest

from accelwatch.server.connection import (
    HEAD_LIMIT_BYTES,
    HEAD_SECONDS,
    IDLE_SECONDS,
    WRITE_SECONDS,
    HttpConnection,
    Request,
    Response,
)

GET = b"GET / HTTP/1.1\r\n\r\n"
Pair = tuple[HttpConnection, socket.socket, list[Request]]


def connected(body: bytes) -> tuple[Pair, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(200, "text/plain", body)

    return (HttpConnection(ours, 0.0, lambda _connection, request: answer(request)), theirs, asked), ours


@pytest.fixture
def small() -> Iterator[Pair]:
    pair, ours = connected(b"ok")
    yield pair
    ours.close()
    pair[1].close()


@pytest.fixture
def large() -> Iterator[Pair]:
    pair, ours = connected(b"x" * 4_000_000)
    yield pair
    ours.close()
    pair[1].close()


def test_a_head_that_trickles_in_does_not_move_its_deadline(small: Pair) -> None:
    """A byte now and then does not keep a request open for ever."""
    connection, client, _ = small
    client.sendall(b"GET")
    assert connection.readable(5.0)
    client.sendall(b" /")
    assert connection.readable(9.0)
    assert connection.deadline == 5.0 + HEAD_SECONDS


def test_each_state_has_its_deadline(small: Pair) -> None:
    """Before the first request a head's time, after an answer the idle time."""
    connection, client, _ = small
    assert connection.deadline == HEAD_SECONDS
    client.sendall(GET)
    assert connection.readable(1.0)
    assert connection.deadline == 1.0 + IDLE_SECONDS


def test_a_client_that_does_not_read_has_a_deadline(large: Pair) -> None:
    """An answer that nobody takes is not kept for the idle time."""
    connection, client, _ = large
    client.sendall(GET)
    assert connection.readable(1.0)
    assert connection.wants_to_write
    assert connection.deadline == 1.0 + WRITE_SECONDS


def test_half_a_head_after_an_answer_has_a_heads_time(small: Pair) -> None:
    """A client cannot buy the idle time with a pipelined beginning."""
    connection, client, _ = small
    client.sendall(GET + b"GET / ")
    assert connection.readable(1.0)
    assert connection.deadline == 1.0 + HEAD_SECONDS


def test_one_request_is_answered_per_turn(small: Pair) -> None:
    """A thousand requests in one packet let other connections in between, and all are answered."""
    connection, client, asked = small
    client.sendall(GET * 1000)
    assert connection.readable(1.0)
    assert len(asked) == 1
    while connection.wants_to_write:
        before = len(asked)
        assert connection.writable(1.0)
        client.recv(65536)
        assert len(asked) <= before + 1
    assert len(asked) == 1000


def test_no_more_is_read_while_a_flood_waits(large: Pair) -> None:
    """A client that pipelines without reading fills its own socket, not our memory."""
    connection, client, _ = large
    client.sendall(GET + b"GET / HTTP/1.1\r\nA: " + b"b" * HEAD_LIMIT_BYTES)
    assert connection.readable(1.0)
    assert connection.wants_to_write
    assert not connection.wants_to_read


def test_a_client_that_closes_its_half_gets_the_whole_answer(large: Pair) -> None:
    """`printf ... | nc -N` reads on after its end."""
    connection, client, _ = large
    client.sendall(GET)
    assert connection.readable(1.0)
    client.shutdown(socket.SHUT_WR)
    assert connection.readable(1.0)
    assert not connection.wants_to_read
    received = 0
    while True:
        stays = connection.writable(1.0)
        received += len(client.recv(1 << 20))
        if not stays:
            break
    client.setblocking(False)
    try:
        while more := len(client.recv(1 << 20)):
            received += more
    except BlockingIOError:
        pass
    assert received > 4_000_000


def test_a_client_that_leaves_between_requests_is_let_go(small: Pair) -> None:
    """Nothing is due to it."""
    connection, client, _ = small
    client.close()
    assert not connection.readable(1.0)
