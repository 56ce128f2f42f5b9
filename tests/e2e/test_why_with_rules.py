"""`why` and `fleet` on what the shipped rules record of pages that a real Prometheus scrapes."""

import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from accelwatch import cli
from prometheus_history import needs_prometheus

pytestmark = [pytest.mark.e2e, needs_prometheus]

RULES = Path(__file__).parents[2] / "alerts" / "rules"
NODES = ("nv-01", "nv-02", "nv-03", "nv-04")
WITHIN_SECONDS = 40.0


class Pages(http.server.BaseHTTPRequestHandler):
    """`/<node>`: its page as it stands now."""

    pages: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        page = self.pages.get(self.path[1:])
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write((page or "").encode())

    def log_message(self, *_: object) -> None:
        pass


def hanging(node: str, stopped: float) -> str:
    """Run 500 stands still since `stopped`; all spin but device 3 of nv-02, which left the collective."""
    of_run = 'run_id="500",attempt="0"'
    lines = [
        f"accelwatch_run_devices{{{of_run}}} 4",
        f"accelwatch_run_world_size{{{of_run}}} 16",
        f'accelwatch_run_info{{{of_run},launcher="slurm",partition="p",rank0="false"}} 1',
        f"accelwatch_run_stalled{{{of_run}}} 2",
        f"accelwatch_run_hang_threshold_seconds{{{of_run}}} 180",
        'accelwatch_source_interval_seconds{source="nvml"} 1',
    ]
    for number in range(4):
        device = f'vendor="nvidia",device="{number}",model="H100"'
        odd = (node, number) == ("nv-02", 3)
        for state in ("busy", "spin", "quiet"):
            value = int(state == ("quiet" if odd else "spin"))
            lines.append(f'accelwatch_device_activity{{{device},state="{state}",{of_run}}} {value}')
        lines.append(f"accelwatch_device_last_progress_timestamp_seconds{{{device},{of_run}}} {stopped}")
        lines.append(f'accelwatch_device_info{{{device},serial="{node}-{number}",pci="0000:0{number}:00.0"}} 1')
        lines.append(f"accelwatch_device_up{{{device}}} 1")
    return "\n".join(lines) + "\n"


def ended(node: str, at: float) -> str:
    """Run 600 has ended by nv-03's device 1, whose Xid 48 is active; the others were killed."""
    of_run = 'run_id="600",attempt="0"'
    struck = node == "nv-03"
    at += 0 if struck else 1
    outcome, class_, device = ("failed", "mem_uncorrectable", "1") if struck else ("killed", "unknown", "")
    whose = 'vendor="nvidia",model="H100"'
    lines = [
        f'accelwatch_run_end_timestamp_seconds{{{of_run},outcome="{outcome}",{whose}}} {at}',
        f'accelwatch_run_cause_timestamp_seconds{{{of_run},class="{class_}",{whose},device="{device}"}} {at - 2}',
        f"accelwatch_run_lost_device_seconds{{{of_run}}} 40",
    ]
    if struck:
        lines.append(
            f'accelwatch_fault_active{{{whose},device="1",class="mem_uncorrectable",fault_severity="run_ending",'
            'code="48",incident="i",run_id="600",notify="page"} 1'
        )
    return "\n".join(lines) + "\n"


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    pages.daemon_threads = True
    thread = threading.Thread(target=pages.serve_forever, args=(0.05,))
    thread.start()
    jobs = "".join(
        f"    - targets: ['127.0.0.1:{pages.server_port}']\n"
        f"      labels: {{cluster: c1, node: {node}, rack: r1, __metrics_path__: /{node}}}\n"
        for node in NODES
    )
    (tmp_path / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: ['{RULES}/*.yml']\n"
        f"scrape_configs:\n- job_name: accelwatch\n  static_configs:\n{jobs}"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)
        pages.shutdown()
        thread.join()
        pages.server_close()


def until(what: str, found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WITHIN_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if answer := found():
                return answer
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {WITHIN_SECONDS} s")


def has(url: str, series: str) -> bool:
    with urllib.request.urlopen(f"{url}/api/v1/query?query={series}", timeout=5) as response:
        return bool(json.loads(response.read())["data"]["result"])


def test_what_the_rules_record_is_what_is_read(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A hang by its odd one, an interruption by its cause, and the nodes that are bad by both."""
    now = time.time()
    Pages.pages = {node: hanging(node, round(now - 400, 1)) + ended(node, round(now - 30, 1)) for node in NODES}

    def asked(*arguments: str) -> dict[str, Any]:
        assert cli.main([*arguments, "--prometheus", prometheus, "--json"]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    until("culprit", lambda: has(prometheus, 'accelwatch:run:culprit{node="nv-02"}'))
    until("interruption", lambda: has(prometheus, 'accelwatch:run_interruption:cause_timestamp_seconds{node="nv-03"}'))
    # Each of the four pages is scraped at a moment of its own.
    until("every share", lambda: has(prometheus, "accelwatch:run_interruption:lost_device_seconds==160"))
    hang = asked("why", "500")
    assert (hang["state"], hang["culprit"]["node"], hang["culprit"]["device"]) == ("hangs", "nv-02", "3")
    assert (hang["culprit"]["class"], hang["culprit"]["serial"]) == ("hang_no_error", "nv-02-3")
    # Device 1 of nv-03, which it holds too, has a fault that ends runs.
    assert hang["exclude"]["notation"] == "--exclude=nv-[02-03]"
    interrupted = asked("why", "600")
    assert (interrupted["state"], interrupted["outcome"]) == ("ended", "failed")
    assert (interrupted["culprit"]["node"], interrupted["culprit"]["code"]) == ("nv-03", "48")
    assert interrupted["lost_device_seconds"] == 160.0
    fleet = asked("fleet")
    assert [(n["node"], n["urgency"], n["run_id"]) for n in fleet["bad"]] == [
        ("nv-03", "run_struck", "600"),
        ("nv-02", "run_struck", "500"),
    ]
    assert [(h["run_id"], h["node"]) for h in fleet["hangs"]] == [("500", "nv-02")]
    # The node falls silent: what it had is kept, and it is bad in another way.
    del Pages.pages["nv-03"]
    until("silence", lambda: has(prometheus, 'up{node="nv-03"}==0'.replace("==", "%3D%3D")))
    (first,) = [n for n in asked("fleet")["bad"] if n["node"] == "nv-03"]
    assert {item["kind"] for item in first["what"]} == {"silent", "fault"}
    assert asked("why", "600")["culprit"]["node"] == "nv-03"
