"""What the agent costs, beside Debian's node_exporter in the same run: `make bench`.

Ratios say more than times on a shared machine; both are printed. Ends with status 1 when a bound is missed.
"""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from accelwatch.clock import SystemClock
from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import NodeSpec, Scenario

DEVICES = 16
SCRAPES, SCRAPERS, EACH, SILENT = 200, 50, 6, 3
# The slowest default interval is 10 s; the first poll, which reads everything, is not what the agent costs.
SETTLE_SECONDS, IDLE_SECONDS = 12, 60
NODES = (
    NodeSpec(name="nv", vendor="nvidia", family="hopper", devices=DEVICES),
    NodeSpec(name="as", vendor="ascend", family="A3", devices=DEVICES),
)


@dataclass(frozen=True)
class Scrapes:
    """Milliseconds."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: list[float]) -> Scrapes:
        percent = statistics.quantiles(seconds, n=100)
        return cls(percent[49] * 1000, percent[98] * 1000, max(seconds) * 1000)


def scrape(client: http.client.HTTPConnection) -> bytes:
    client.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    answer = client.getresponse()
    if answer.status != 200:
        raise AssertionError(f"/metrics: status {answer.status}")
    return answer.read()


def one_client(port: int) -> Scrapes:
    """One after the other on one connection, as Prometheus does it."""
    times = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        for _ in range(SCRAPES):
            started = time.perf_counter()
            scrape(client)
            times.append(time.perf_counter() - started)
            time.sleep(0.005)
    return Scrapes.of(times)


def many_clients(port: int) -> Scrapes:
    """At once, a connection each time; an unanswered scrape fails the whole run."""
    times: list[float] = []

    def client() -> None:
        for _ in range(EACH):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                started = time.perf_counter()
                scrape(connection)
                times.append(time.perf_counter() - started)

    threads = [threading.Thread(target=client) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != SCRAPERS * EACH:
        raise AssertionError(f"{SCRAPERS * EACH - len(times)} of {SCRAPERS * EACH} scrapes were not answered")
    return Scrapes.of(times)


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
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as client:
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.read() if answer.status == 200 else None
        except OSError:
            return None


def complete(port: int) -> bool:
    """Every source has answered once, and every device has what it measures on the page."""
    if answered(port, "/readyz") is None:
        return False
    page = answered(port, "/metrics") or b""
    return page.count(b"\naccelwatch_device_utilization_ratio{") == DEVICES


def until(what: str, true: object, seconds: float = 60.0) -> float:
    started = time.monotonic()
    while not true():  # type: ignore[operator]
        if time.monotonic() - started > seconds:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)
    return time.monotonic() - started


def family(pid: int) -> list[psutil.Process]:
    """The agent and its worker. The simulated tools stand for the vendor's: their cost is not the agent's."""
    process = psutil.Process(pid)
    return [process, *(c for c in process.children(recursive=True) if "nvml_worker" in " ".join(c.cmdline()))]


def cpu(pid: int) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in family(pid)))


def at_default_intervals(configuration: Path) -> list[str]:
    """Takes the simulated host's own intervals out of its configuration; gives the command of its agent.

    Its kernel log becomes a FIFO, which wakes its reader only when there is a record, as /dev/kmsg does: a simulated
    one is a file, which the agent has to look into several times a second.
    """
    document = yaml.safe_load(configuration.read_text())
    for source in document["sources"].values():
        source.pop("interval", None)
    log = configuration.with_name("kmsg.fifo")
    os.mkfifo(log)
    document["sources"]["kernel_log"]["path"] = str(log)
    configuration.write_text(yaml.safe_dump(document))
    return [sys.executable, "-m", "accelwatch", "--config", str(configuration), "agent"]


def judge(what: str, value: float, bound: float, unit: str) -> bool:
    kept = value <= bound
    print(f"  {'ok    ' if kept else 'MISSED'}  {what:<58} {value:8.2f} {unit:<4} (at most {bound:g})", flush=True)
    return kept


def measure(node: NodeSpec, port: int, directory: Path, base: Scrapes, base_many: Scrapes) -> list[bool]:
    children = Children(directory)
    try:
        children.start(node.name, at_default_intervals(directory / node.name / "accelwatch.yml"))
        first = until("the first complete page", lambda: complete(port))
        pid = children._running[-1][1].pid
        time.sleep(SETTLE_SECONDS)
        before = cpu(pid)
        time.sleep(IDLE_SECONDS)
        used = (cpu(pid) - before) / IDLE_SECONDS
        one, many = one_client(port), many_clients(port)
        with silent_clients(port):
            beside = one_client(port)
        memory = [process.memory_full_info() for process in family(pid)]
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            packed = scrape(client)
        page = gzip.decompress(packed)
    finally:
        children.close()
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    print(f"\naccelwatch, {DEVICES} x {node.vendor} {node.family}: {series} series, {len(page) / 1000:.0f} kB;"
          f" scrape p50 {one.p50:.2f} p99 {one.p99:.2f} ms;"
          f" {SCRAPERS} at once p50 {many.p50:.1f} p99 {many.p99:.1f} ms (node_exporter's p99: {base_many.p99:.0f});"
          f"\nbeside {SILENT} silent clients p50 {beside.p50:.2f} p99 {beside.p99:.2f} longest {beside.longest:.1f} ms;"
          f" RSS {sum(m.rss for m in memory) / (1 << 20):.1f} MiB in {len(memory)} processes;"
          f" p50 is 1/{base.p50 / one.p50:.0f} of node_exporter's")  # fmt: skip
    return [
        judge("scrape p50 against node_exporter's", one.p50 / base.p50, 0.2, ""),
        judge(f"{SCRAPERS} scrapers at once, p99", many.p99, 150, "ms"),
        judge(f"longest scrape beside {SILENT} silent TCP clients", beside.longest, 50, "ms"),
        judge("PSS with children", sum(m.pss for m in memory) / (1 << 20), 64, "MiB"),
        judge(f"CPU at default intervals over {IDLE_SECONDS} s, with the worker", used * 100, 1, "%"),
        judge("start to first complete page", first, 3, "s"),
        judge("page with gzip", len(packed) / 1000, 20, "kB"),
    ]


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        ports = _free_ports(3)
        hardware = Hardware(Scenario(nodes=NODES), directory, SystemClock(), ports[:2])
        hardware.start()
        exporter = Children(directory)
        try:
            # By default it refuses more than 40 requests at once (503).
            options = [f"--web.listen-address=127.0.0.1:{ports[2]}", "--web.max-requests=0"]
            exporter.start("node_exporter", ["prometheus-node-exporter", *options])
            until("node_exporter", lambda: answered(ports[2], "/metrics"))
            base, many = one_client(ports[2]), many_clients(ports[2])
            print(f"node_exporter: scrape p50 {base.p50:.2f} p99 {base.p99:.2f} ms;"
                  f" {SCRAPERS} at once p50 {many.p50:.0f} p99 {many.p99:.0f} ms", flush=True)  # fmt: skip
            kept = [
                result
                for node, port in zip(NODES, ports, strict=False)
                for result in measure(node, port, directory, base, many)
            ]
        finally:
            exporter.close()
            hardware.close()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
