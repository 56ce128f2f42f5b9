"""Clients that scrape, and what they waited."""

from __future__ import annotations

import http.client
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

SCRAPES, SCRAPERS, EACH, SILENT = 200, 50, 6, 3
SCRAPE_TIMEOUT_SECONDS = 10.0  # Prometheus's default


@dataclass(frozen=True)
class Scrapes:
    """Milliseconds."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: list[float]) -> Scrapes:
        """Of the times that single scrapes took."""
        percent = statistics.quantiles(seconds, n=100)
        return cls(percent[49] * 1000, percent[98] * 1000, max(seconds) * 1000)


def scrape(client: http.client.HTTPConnection) -> bytes:
    """One page as it came, packed where the server packs it."""
    client.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    answer = client.getresponse()
    if answer.status != 200:
        raise AssertionError(f"/metrics: status {answer.status}")
    return answer.read()


def one_client(port: int, scrapes: int = SCRAPES) -> Scrapes:
    """One after the other on one connection, as Prometheus does it."""
    times = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        for _ in range(scrapes):
            started = time.perf_counter()
            scrape(client)
            times.append(time.perf_counter() - started)
            time.sleep(0.005)
    return Scrapes.of(times)


def many_clients(port: int) -> tuple[Scrapes, int]:
    """At once, a connection each time; and how many were not answered in time, which count as that long."""
    times: list[float] = []
    unanswered: list[Exception] = []

    def client() -> None:
        for _ in range(EACH):
            started = time.perf_counter()
            try:
                with closing(
                    http.client.HTTPConnection("127.0.0.1", port, timeout=SCRAPE_TIMEOUT_SECONDS)
                ) as connection:
                    scrape(connection)
            except (OSError, http.client.HTTPException) as error:
                unanswered.append(error)
                times.append(SCRAPE_TIMEOUT_SECONDS)
            else:
                times.append(time.perf_counter() - started)

    threads = [threading.Thread(target=client) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != SCRAPERS * EACH:
        raise AssertionError(f"{SCRAPERS * EACH - len(times)} of {SCRAPERS * EACH} scrapes were refused")
    return Scrapes.of(times), len(unanswered)


@contextmanager
def silent_clients(port: int) -> Iterator[None]:
    """TCP clients of which one says nothing, one half a line, and one half a request."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(SILENT)]
    try:
        clients[1].sendall(b"GET /met")
        clients[2].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        yield
    finally:
        for client in clients:
            client.close()


def answered(port: int, path: str) -> bytes | None:
    """The body of a good answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as client:
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.read() if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None


def until(what: str, true: Callable[[], bool], seconds: float = 60.0) -> float:
    """Seconds until it was. Raises `AssertionError` when it never is."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)
    return time.monotonic() - started
