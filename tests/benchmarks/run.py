"""What the agent costs, beside Debian's node_exporter in the same run: `make bench`.

Ratios say more than times on a shared machine; both are printed.
"""

from __future__ import annotations

import gzip
import http.client
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from accelwatch.clock import SystemClock
from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import NodeSpec, Scenario

SCRAPES, SCRAPERS, EACH, IDLE_SECONDS = 200, 50, 6, 30


def scrape(client: http.client.HTTPConnection) -> bytes:
    client.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    return client.getresponse().read()


def one_client(port: int) -> list[float]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times = []
    for _ in range(SCRAPES):
        started = time.perf_counter()
        scrape(client)
        times.append(time.perf_counter() - started)
        time.sleep(0.005)
    client.close()
    return times


def many_clients(port: int) -> list[float]:
    times: list[float] = []

    def client() -> None:
        for _ in range(EACH):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            started = time.perf_counter()
            scrape(connection)
            times.append(time.perf_counter() - started)
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def share(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1] * 1000


def ready(port: int, path: str, started: float) -> float:
    while time.monotonic() - started < 60:
        try:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            client.request("GET", path)
            if client.getresponse().status == 200:
                return time.monotonic() - started
        except OSError:
            pass
        time.sleep(0.01)
    sys.exit(f"port {port} did not become ready")


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    # The simulated tools stand for the vendor's: neither their time nor their memory is the agent's.
    return [process, *(c for c in process.children(recursive=True) if "nvml_worker" in " ".join(c.cmdline()))]


def cpu(pid: int) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in family(pid)))


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        ports = _free_ports(3)
        nodes = (
            NodeSpec(name="nv", vendor="nvidia", family="hopper", devices=16),
            NodeSpec(name="as", vendor="ascend", family="A3", devices=16),
        )
        hardware = Hardware(Scenario(nodes=nodes), directory, SystemClock(), ports[:2])
        hardware.start()
        children = Children(directory)
        try:
            children.start("node_exporter", ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{ports[2]}"])
            ready(ports[2], "/metrics", time.monotonic())
            base_one, base_many = one_client(ports[2]), many_clients(ports[2])
            print(f"node_exporter  one client p50 {share(base_one, 50):.2f} ms p99 {share(base_one, 99):.2f} ms;"
                  f" {SCRAPERS} clients p99 {share(base_many, 99):.0f} ms")  # fmt: skip
            for node, port in zip(nodes, ports, strict=False):
                started = time.monotonic()
                children.start(
                    node.name,
                    [
                        sys.executable,
                        "-m",
                        "accelwatch",
                        "--config",
                        str(directory / node.name / "accelwatch.yml"),
                        "agent",
                    ],
                )
                seconds = ready(port, "/readyz", started)
                pid = children._running[-1][1].pid
                time.sleep(3)
                body = gzip.decompress(scrape(http.client.HTTPConnection("127.0.0.1", port)))
                series = sum(not line.startswith(b"#") for line in body.splitlines())
                before = cpu(pid)
                time.sleep(IDLE_SECONDS)
                used = (cpu(pid) - before) / IDLE_SECONDS
                one, many = one_client(port), many_clients(port)
                pss = sum(process.memory_full_info().pss for process in family(pid)) / (1 << 20)
                print(f"accelwatch     16 x {node.family}: {series} series, {len(gzip.compress(body, 1))} bytes gzip, first complete"
                      f" page after {seconds:.2f} s, {used:.2%} of a core, {pss:.1f} MiB PSS;\n"
                      f"               one client p50 {share(one, 50):.2f} ms p99 {share(one, 99):.2f} ms,"
                      f" {SCRAPERS} clients p99 {share(many, 99):.0f} ms;"
                      f" p50 is 1/{share(base_one, 50) / share(one, 50):.1f} of node_exporter's")  # fmt: skip
        finally:
            children.close()
            hardware.close()


if __name__ == "__main__":
    main()
