"""One real agent on simulated hardware whose drivers die, and what it posts."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml

from accelwatch.clock import SystemClock
from accelwatch.simulator.cluster import _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario

Vendor = Literal["nvidia", "ascend"]
DEADLINE_SECONDS = 3.0
INTERVAL_SECONDS = 0.5
SOURCES: dict[Vendor, tuple[str, ...]] = {"nvidia": ("nvml",), "ascend": ("npu_smi", "hccn_tool")}
FAMILIES: dict[Vendor, str] = {"nvidia": "hopper", "ascend": "910B"}
# A fault of the second device, by the kernel log alone.
LINES: dict[Vendor, str] = {
    "nvidia": "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
    "ascend": "[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/5:1H:39> Heartbeat lost! "
    "(device=1; lost_count=4)",
}
LINE_CLASS = "device_lost"


def until(what: str, found: Callable[[], Any], seconds: float = 30.0) -> float:
    """Seconds that it took. Raises `AssertionError`."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            if found():
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds:g} s")


class Pages:
    """Stands where an Alertmanager does: the alerts that were posted to it."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        got = self.alerts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


class Node:
    """Two devices of each vendor in a run of their own; one agent reads them all."""

    def __init__(self, directory: Path, vendors: tuple[Vendor, ...]) -> None:
        self.vendors = vendors
        (port,) = _free_ports(1)
        self._address = f"http://127.0.0.1:{port}/metrics"
        nodes = tuple(
            NodeSpec(name=vendor, vendor=vendor, family=FAMILIES[vendor], devices=2)  # type: ignore[arg-type]
            for vendor in vendors
        )
        runs = tuple(RunSpec(id=f"run-{vendor}", nodes=(vendor,)) for vendor in vendors)
        self.pages = Pages()
        self.directory = directory
        self.hardware = Hardware(
            Scenario(nodes=nodes, runs=runs), directory, SystemClock(), [port, *_free_ports(len(nodes) - 1)]
        )
        self.hardware.start()
        path = directory / vendors[0] / "accelwatch.yml"
        settings = yaml.safe_load(path.read_text())
        for vendor in vendors[1:]:
            other = yaml.safe_load((directory / vendor / "accelwatch.yml").read_text())
            for source in SOURCES[vendor]:
                settings["sources"][source] = other["sources"][source]
        for source in self.sources:
            settings["sources"][source] |= {"interval": f"{INTERVAL_SECONDS:g}s", "timeout": f"{DEADLINE_SECONDS:g}s"}
        settings["alertmanager"] = {"urls": [self.pages.url], "min_run_devices": 1}
        path.write_text(yaml.safe_dump(settings))
        argv = [sys.executable, "-m", "accelwatch", "--config", str(path), "agent"]
        self._log = (directory / "agent.log").open("wb")
        self.agent = subprocess.Popen(argv, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)

    @property
    def sources(self) -> tuple[str, ...]:
        """Of the drivers."""
        return tuple(source for vendor in self.vendors for source in SOURCES[vendor])

    def page(self) -> str:
        """As a scrape gets it. Raises `OSError`."""
        with urllib.request.urlopen(self._address, timeout=5) as answer:
            return str(answer.read().decode())

    def measured(self) -> set[str]:
        """Vendors with power on the page."""
        return set(re.findall(r'^accelwatch_device_power_watts\{[^\n]*vendor="(\w+)"', self.page(), re.MULTILINE))

    def active(self, class_: str, vendor: str) -> bool:
        """Whether a fault of the class is active."""
        lines = re.findall(r"^accelwatch_fault_active\{([^\n]*)\} 1$", self.page(), re.MULTILINE)
        return any(f'class="{class_}"' in line and f'vendor="{vendor}"' in line for line in lines)

    def accused(self) -> set[str]:
        """Devices that are said to be down."""
        return set(re.findall(r"^accelwatch_device_up\{([^\n]*)\} 0$", self.page(), re.MULTILINE))

    def up(self, source: str) -> bool:
        """Whether the source answers."""
        return f'accelwatch_source_up{{source="{source}"}} 1' in self.page()

    def posted(self, class_: str) -> bool:
        """Whether an alert of the class was sent by the fast path."""
        return any(
            alert["labels"].get("path") == "fast" and alert["labels"].get("class") == class_
            for alert in list(self.pages.alerts)
        )

    def say(self) -> None:
        """The kernel log, of the first vendor's host, tells of another fault."""
        vendor = self.vendors[0]
        self.hardware.inject(FaultSpec(fault="kernel_line", node=vendor, parameters={"text": LINES[vendor]}))

    def answer_seconds(self, requests: int) -> list[float]:
        """Of scrapes, one after the other."""
        taken = []
        for _ in range(requests):
            began = time.perf_counter()
            self.page()
            taken.append(time.perf_counter() - began)
        return sorted(taken)

    def held(self) -> dict[str, int]:
        """Descriptors and children of the agent."""
        return {
            "descriptors": len(os.listdir(f"/proc/{self.agent.pid}/fd")),
            "children": len(Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()),
        }

    def close(self) -> None:
        """Ends everything."""
        self.agent.terminate()
        try:
            self.agent.wait(10)
        except subprocess.TimeoutExpired:
            self.agent.kill()
        self._log.close()
        self.hardware.close()
        self.pages.close()
