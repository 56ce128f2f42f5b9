"""The server: nobody delays anybody, and everything is bounded."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.server import control, node_page
from accelwatch.server.http import CONNECTION_LIMIT, Request, Response, Server, ServerError

BODY = b"x" * 200_000


def fail(_request: Request) -> Response:
    raise RuntimeError("a flaw")


@pytest.fixture
def server() -> Iterator[tuple[Server, tuple[str, int]]]:
    flaws: list[str] = []
    made = Server(
        {"/metrics": lambda _r: Response(200, "text/plain", BODY), "/bad": fail},
        report=lambda path, _e: flaws.append(path),
    )
    address = made.listen("127.0.0.1:0")
    made.start()
    yield made, address
    made.close()
    assert not made.alive


def get(address: tuple[str, int], path: str = "/metrics", method: str = "GET") -> tuple[int, bytes]:
    client = http.client.HTTPConnection(*address, timeout=5)
    client.request(method, path)
    answer = client.getresponse()
    result = answer.status, answer.read()
    client.close()
    return result


def raw(address: tuple[str, int], data: bytes) -> bytes:
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(data)
        return client.recv(65536)


def test_answers_and_refusals(server: tuple[Server, tuple[str, int]]) -> None:
    """GET of known paths only; a handler's flaw is 500 and the server lives."""
    _, address = server
    assert get(address) == (200, BODY)
    assert get(address, "/nothing")[0] == 404
    assert get(address, "/bad")[0] == 500
    assert get(address, "/metrics", "POST")[0] == 405
    assert get(address, "/metrics", "HEAD") == (200, b"")
    assert get(address) == (200, BODY)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"413"),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 9000 + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_no_request_is_refused(server: tuple[Server, tuple[str, int]], data: bytes, status: bytes) -> None:
    """Each with its status, and the connection ends."""
    assert raw(server[1], data).split(b" ")[1] == status


def test_a_connection_is_kept_and_used_again(server: tuple[Server, tuple[str, int]]) -> None:
    """Prometheus scrapes over one connection."""
    made, address = server
    client = http.client.HTTPConnection(*address, timeout=5)
    for _ in range(3):
        client.request("GET", "/metrics")
        assert client.getresponse().read() == BODY
    assert made.connections == 1
    client.close()


def test_silent_and_slow_clients_delay_nobody(server: tuple[Server, tuple[str, int]]) -> None:
    """Three silent ones, one that sends half a head, one that never reads."""
    _, address = server
    idle = [socket.create_connection(address) for _ in range(5)]
    idle[3].sendall(b"GET /metr")
    idle[4].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    idle[4].sendall(b"GET /metrics HTTP/1.1\r\n\r\n" * 3)
    started = time.monotonic()
    for _ in range(20):
        assert get(address)[0] == 200
    assert time.monotonic() - started < 2
    for client in idle:
        client.close()


def test_fifty_at_once_are_all_answered(server: tuple[Server, tuple[str, int]]) -> None:
    """No listen backlog of five here."""
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(get(server[1])[0])) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [200] * 50


def test_connections_are_bounded_and_the_next_one_is_served(server: tuple[Server, tuple[str, int]]) -> None:
    """A flood of idle connections costs the idle ones."""
    made, address = server
    flood = [socket.create_connection(address) for _ in range(CONNECTION_LIMIT + 20)]
    assert get(address)[0] == 200
    assert made.connections <= CONNECTION_LIMIT
    assert made.refused >= 20
    for client in flood:
        client.close()


def test_an_address_in_use_is_explained(server: tuple[Server, tuple[str, int]]) -> None:
    """The message says what to change."""
    host, port = server[1]
    second = Server({}, report=lambda _p, _e: None)
    with pytest.raises(ServerError, match="choose another `listen`"):
        second.listen(f"{host}:{port}")
    second.close()


def test_the_control_socket_answers_and_is_the_agents_alone(tmp_path: Path) -> None:
    """One line each way; a second agent is refused, a stale socket replaced, however deep the directory."""
    path = tmp_path / ("d" * 120) / "control.sock"
    with pytest.raises(control.ControlUnreachable):
        control.ask(path.parent.parent / "none.sock", {}, 1)
    listener = control.ControlListener(path, lambda line: b'{"got": ' + line + b"}")
    listener.start()
    assert control.ask(path, {"a": 1}, 2) == {"got": {"a": 1}}
    assert path.stat().st_mode & 0o777 == 0o660
    with pytest.raises(OSError, match="another accelwatch agent"):
        control.ControlListener(path, lambda line: line)
    listener.close()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale.sock"))
    stale.close()
    control.ControlListener(tmp_path / "stale.sock", lambda line: line).close()


def test_hostile_names_are_escaped_on_the_node_page() -> None:
    """A process may call itself anything."""
    evil = "<script>alert(1)</script>"
    device = {
        "vendor": "nvidia", "device": "0", "model": evil, "health": "ok", "temperature_celsius": None, "power_watts": 1.0,
        "utilization_ratio": None, "memory_used_bytes": None, "memory_total_bytes": None, "error_codes": [],
        "ecc": {"corrected": None, "uncorrected": 0}, "links": [{"link": "nvlink0", "state": "down"}],
        "processes": [{"pid": 1, "name": evil, "memory_bytes": 1}],
    }  # fmt: skip
    report = {
        "devices": [device],
        "faults": [],
        "sources": [{"source": "nvml", "up": False, "seconds": None, "error": evil}],
    }
    agent = {"simulated": True, "labels": {"cluster": evil}, "reload_successful": False, "journal_degraded": True}
    page = node_page.render(report, version="1", node=evil, agent=agent).decode()
    assert evil not in page
    assert page.count("&lt;script&gt;") == 6
    assert "SIMULATED" in page
    assert "not reported" in page


def test_a_thousand_requests_in_one_packet_are_answered_and_end_nothing(
    server: tuple[Server, tuple[str, int]],
) -> None:
    """Pipelining costs a turn per request, never the server."""
    made, address = server
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(b"GET /none HTTP/1.1\r\n\r\n" * 1000)
        received = b""
        while received.count(b"HTTP/1.1 404") < 1000:
            chunk = client.recv(1 << 20)
            assert chunk
            received += chunk
    assert made.alive
    assert get(address)[0] == 200


def test_a_handler_that_raises_is_counted(server: tuple[Server, tuple[str, int]]) -> None:
    """One page's flaw is status 500 for its client and a count for us."""
    made, address = server
    assert get(address, "/bad")[0] == 500
    assert made.failed == 1


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_an_address_without_a_port_is_explained(address: str) -> None:
    """With what was expected."""
    server = Server({}, report=lambda _p, _e: None)
    with pytest.raises(ServerError, match="expected HOST:PORT"):
        server.listen(address)
    server.close()
