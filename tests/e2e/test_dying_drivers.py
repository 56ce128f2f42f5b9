"""A driver that dies under a real agent: the page, the kernel log and paging go on, it is told, and values return."""

from __future__ import annotations

import http.server
import json
import re
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from accelwatch.clock import SystemClock
from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario

pytestmark = pytest.mark.e2e
WITHIN_SECONDS = 30.0
DEADLINE_SECONDS = 1.0
# Two deadlines, the polls between them, a worker's start, and a machine with other things to do.
TOLD_SECONDS = 2 * DEADLINE_SECONDS + 13.0
ANSWER_SECONDS = 0.050
REQUESTS = 60
SOURCE = {"nvidia": "nvml", "ascend": "npu_smi"}
FAMILY = {"nvidia": "hopper", "ascend": "910B"}
DEATHS = {
    "every NVML call blocks": ("nvidia", "blocked", {}),
    "npu-smi blocks": ("ascend", "tool", {"kind": "block"}),
}


def until(what: str, found: Callable[[], Any], seconds: float = WITHIN_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = found()
        except OSError:
            answer = None
        if answer:
            return answer
        time.sleep(0.05)
    pytest.fail(f"{what} did not come within {seconds:g} s")


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
        self._server.shutdown()
        self._server.server_close()


class Dying:
    """One node with two devices in a run, its agent, and what is posted."""

    def __init__(self, directory: Path, vendor: str) -> None:
        self.source = SOURCE[vendor]
        (port,) = _free_ports(1)
        self._address = f"http://127.0.0.1:{port}/metrics"
        node = NodeSpec(name="n", vendor=vendor, family=FAMILY[vendor], devices=2)  # type: ignore[arg-type]
        scenario = Scenario(nodes=(node,), runs=(RunSpec(id="4711", nodes=("n",)),))
        self.pages = Pages()
        self.hardware = Hardware(scenario, directory, SystemClock(), [port])
        self._children = Children(directory)
        self.hardware.start()
        path = directory / "n" / "accelwatch.yml"
        settings = yaml.safe_load(path.read_text())
        settings["sources"][self.source] |= {"interval": "500ms", "timeout": f"{DEADLINE_SECONDS:g}s"}
        settings["alertmanager"] = {"urls": [self.pages.url], "min_run_devices": 1}
        path.write_text(yaml.safe_dump(settings))
        self._children.start("agent", [sys.executable, "-m", "accelwatch", "--config", str(path), "agent"])

    def page(self) -> str:
        with urllib.request.urlopen(self._address, timeout=5) as answer:
            return str(answer.read().decode())

    def active(self, class_: str) -> bool:
        return bool(
            re.search(rf'^accelwatch_fault_active\{{[^\n]*class="{class_}"[^\n]*\}} 1$', self.page(), re.MULTILINE)
        )

    def answer_seconds(self) -> float:
        """The median of some scrapes: a busy machine delays a few of them."""
        taken = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            self.page()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    def close(self) -> None:
        self._children.close()
        self.hardware.close()
        self.pages.close()


@pytest.fixture
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Dying]:
    made = Dying(tmp_path, request.param)
    try:
        until("values and the run", lambda: all(
            name in made.page() for name in ("accelwatch_device_power_watts{", 'run_id="4711"')
        ))  # fmt: skip
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(("node", "fault", "parameters"), list(DEATHS.values()), ids=list(DEATHS), indirect=["node"])
def test_a_dying_driver_costs_its_own_values_alone(node: Dying, fault: str, parameters: dict[str, str | int]) -> None:
    """Told within two deadlines, scraped in 50 ms, the kernel log followed, the page sent, and values return without a hand."""
    number = node.hardware.inject(FaultSpec(fault=fault, node="n", parameters=parameters))
    began = time.monotonic()
    until("the fault of the driver", lambda: node.active("driver_software"), TOLD_SECONDS)
    told = time.monotonic() - began
    assert f'source_up{{source="{node.source}"}} 0' in node.page()
    assert "accelwatch_device_power_watts{" not in node.page()
    answered = node.answer_seconds()
    assert answered < ANSWER_SECONDS
    xid = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."
    node.hardware.inject(FaultSpec(fault="kernel_line", node="n", parameters={"text": xid}))
    until("the fault of the kernel log", lambda: node.active("device_lost"))
    until("an alert", lambda: any(alert["labels"].get("path") == "fast" for alert in list(node.pages.alerts)))
    node.hardware.clear(number)
    until("the recovery", lambda: f'source_up{{source="{node.source}"}} 1' in node.page(), 90.0)
    until("its values", lambda: "accelwatch_device_power_watts{" in node.page())
    print(f"told after {told:.1f} s, a scrape takes {answered * 1000:.1f} ms")
