"""A whole cluster on one machine: simulated hardware, real agents, real Prometheus, real Alertmanager, and its pages."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import yaml

from accelwatch import shipped
from accelwatch.clock import SystemClock
from accelwatch.config import seconds
from accelwatch.server.control import ControlError
from accelwatch.signals import Signals
from accelwatch.simulator import cluster_grafana
from accelwatch.simulator import scenario as scenarios
from accelwatch.simulator.cluster_report import Reports, hastened
from accelwatch.simulator.hardware import Hardware

SCRAPE_SECONDS = 2
CLUSTER = "simulated"
START_SECONDS = 20.0
# By then the scenario's faults have been recorded, a minute or two after they were seen.
REPORT_AFTER = "4m"


class Children:
    """Processes that end with us, each with its output in a file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, argv: Sequence[str]) -> None:
        """Starts one. Raises `ControlError` when it is not there."""
        if shutil.which(argv[0]) is None:
            raise ControlError(f"{argv[0]} is missing: on Debian and Ubuntu `make run` as root installs it")
        with (self._directory / f"{name}.log").open("wb") as log:
            self._running.append(
                (
                    name,
                    subprocess.Popen(
                        list(argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
                    ),
                )
            )

    def check(self) -> None:
        """Raises `ControlError` when one has ended by itself."""
        for name, child in self._running:
            if child.poll() is not None:
                raise ControlError(
                    f"{name} has ended (status {child.returncode}); see {self._directory / f'{name}.log'}"
                )

    def close(self) -> None:
        """Ends all of them: SIGTERM, and SIGKILL after five seconds."""
        for _, child in self._running:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        deadline = time.monotonic() + 5.0
        for _, child in self._running:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def run_cluster(name: str, directory: Path, duration: str | None, report_after: str = REPORT_AFTER) -> int:
    """Runs until interrupted, or for `duration`. Raises what its parts raise."""
    first_report = seconds(report_after)
    scenario = scenarios.load(name)
    directory = directory.resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    ports = _free_ports(len(scenario.nodes) + 4)
    grafana_port = ports.pop()
    stop = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # hung up: its terminal is gone
    print(
        "SIMULATED cluster: the accelerators are not real; agents, Prometheus and Alertmanager are.",
        flush=True,
    )
    children = Children(directory)
    hardware = Hardware(_without_faults(scenario), directory, SystemClock(), ports[3:])
    pager = _pager(ports[2])
    reports = Reports(f"http://127.0.0.1:{ports[0]}", directory / "report.html", first_report, _say)
    try:
        hardware.start()
        for node in scenario.nodes:
            configuration = directory / node.name / "accelwatch.yml"
            _fast_path(configuration, ports)
            children.start(
                f"agent-{node.name}",
                [sys.executable, "-m", "accelwatch", "--config", str(configuration), "agent"],
            )
        _monitoring(children, directory, [node.name for node in scenario.nodes], ports)
        _wait_until_ready([f"http://127.0.0.1:{port}" for port in ports[3:]], "/readyz", children)
        _wait_until_ready([f"http://127.0.0.1:{port}" for port in ports[:2]], "/-/ready", children)
        grafana = _grafana(children, directory, ports[0], grafana_port)
        _tell(scenario, directory, ports, grafana)
        _play(scenario, hardware, stop, None if duration is None else seconds(duration), children, reports)
    finally:
        reports.close()
        children.close()
        hardware.close()
        pager.shutdown()
        pager.server_close()
    print("\nended; nothing is left running", flush=True)
    return 0


def _fast_path(configuration: Path, ports: Sequence[int]) -> None:
    """Has an agent post to the cluster's Alertmanager itself; its label `cluster` is that of its target."""
    document = yaml.safe_load(configuration.read_text())
    prometheus, alertmanager = (f"http://127.0.0.1:{port}" for port in ports[:2])
    document["alertmanager"] = {"urls": [alertmanager], "prometheus": prometheus}
    document["labels"]["cluster"] = CLUSTER
    configuration.write_text(yaml.safe_dump(document))


def _play(
    scenario: scenarios.Scenario,
    hardware: Hardware,
    stop: Signals,
    limit: float | None,
    children: Children,
    reports: Reports,
) -> None:
    """Lets the scenario's faults begin at their times, counted from when everything was ready."""
    began = time.monotonic()
    coming = sorted(scenario.faults, key=lambda fault: fault.at)
    while not stop.wait(0.5):
        children.check()
        passed = time.monotonic() - began
        reports.step(passed)
        while coming and coming[0].at <= passed:
            fault = coming.pop(0)
            hardware.inject(fault)
            where = f"{fault.node} device {fault.device}" if fault.device is not None else fault.node
            _say(f"FAULT  {fault.fault} injected on {where}")
        if limit is not None and passed >= limit:
            return


def _grafana(children: Children, directory: Path, prometheus: int, port: int) -> str | None:
    """Starts one where the host has it; gives its address. It is not waited for."""
    program = cluster_grafana.installed()
    if program is None:
        return None
    home, url = directory / "grafana", f"http://127.0.0.1:{prometheus}"
    children.start("grafana", cluster_grafana.prepare(program, home, url, port, SCRAPE_SECONDS))
    return f"http://127.0.0.1:{port}"


def _tell(scenario: scenarios.Scenario, directory: Path, ports: Sequence[int], grafana: str | None) -> None:
    print(f"\n  Prometheus    http://127.0.0.1:{ports[0]}/classic/graph")
    print(f"  Alertmanager  http://127.0.0.1:{ports[1]}")
    if grafana is not None:
        print(f"  Grafana       {grafana}/dashboards")
    for node, port in zip(scenario.nodes, ports[3:], strict=True):
        print(f"  {node.name:<12}  http://127.0.0.1:{port}/   ({node.devices} x {node.vendor} {node.family})")
    first = directory / scenario.nodes[0].name / "accelwatch.yml"
    program = Path(sys.executable).parent / "accelwatch"
    print(f"\n  look at a node:   {program} --config {first} check")
    print(f"  break something:  {program} simulate inject {directory} FAULT --node NODE --device N")
    print(f"  the faults:       {program} simulate faults")
    print(
        "  end:              Ctrl-C\n\nFaults as they are injected, pages as Alertmanager sends them:",
        flush=True,
    )


def _monitoring(children: Children, directory: Path, nodes: Sequence[str], ports: Sequence[int]) -> None:
    try:
        alerts = shipped.alerts()
    except shipped.NotShippedError as error:
        raise ControlError(str(error)) from error
    targets = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"node": node, "cluster": CLUSTER}}
        for node, port in zip(nodes, ports[3:], strict=True)
    ]
    prometheus = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "rule_files": [hastened(alerts / "rules", directory / "rules")],
        "scrape_configs": [{"job_name": "accelwatch", "static_configs": targets}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}]}]},
    }
    alertmanager = yaml.safe_load((alerts / "alertmanager.yml").read_text())
    alertmanager["templates"] = [str(alerts / path) for path in alertmanager.get("templates", ())]
    for receiver in alertmanager["receivers"]:
        if receiver["name"] in ("page", "ticket"):
            receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{ports[2]}/{receiver['name']}"}]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(prometheus))
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(alertmanager))
    children.start(
        "alertmanager",
        ["prometheus-alertmanager", f"--config.file={directory / 'alertmanager.yml'}", "--cluster.listen-address=",
         f"--web.listen-address=127.0.0.1:{ports[1]}", f"--storage.path={directory / 'alertmanager'}"],
    )  # fmt: skip
    children.start(
        "prometheus",
        ["prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'prometheus'}",
         f"--web.listen-address=127.0.0.1:{ports[0]}", f"--web.external-url=http://127.0.0.1:{ports[0]}"],
    )  # fmt: skip


class _Pages(http.server.BaseHTTPRequestHandler):
    """What a person on call would get."""

    said: ClassVar[set[tuple[str, str, str]]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        kind = self.path.strip("/").upper()
        for alert in json.loads(body)["alerts"]:
            # Each notification repeats what its group said before.
            news = (alert["fingerprint"], alert["startsAt"], alert["status"])
            if news in self.said:
                continue
            self.said.add(news)
            notes = alert["annotations"]
            word = kind if alert["status"] == "firing" else f"{kind} resolved"
            _say(f"{word:<6} {notes.get('summary', alert['labels']['alertname'])}")
            if alert["status"] == "firing":
                print(textwrap.indent(notes.get("description", ""), " " * 17), flush=True)

    def log_message(self, *_arguments: object) -> None:
        """Its own log would drown the pages."""


def _pager(port: int) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _Pages)
    threading.Thread(target=server.serve_forever, name="pager", daemon=True).start()
    return server


def _wait_until_ready(addresses: Sequence[str], path: str, children: Children) -> None:
    deadline = time.monotonic() + START_SECONDS
    for address in addresses:
        while True:
            children.check()
            with contextlib.suppress(OSError), urllib.request.urlopen(address + path, timeout=1.0) as answer:  # noqa: S310
                if answer.status == 200:
                    break
            if time.monotonic() > deadline:
                raise ControlError(
                    f"{address}{path} does not answer within {START_SECONDS:g} s; see the logs beside it"
                )
            time.sleep(0.1)


def _without_faults(scenario: scenarios.Scenario) -> scenarios.Scenario:
    return msgspec.structs.replace(scenario, faults=())


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        return list(_bound(stack, count))


def _bound(stack: contextlib.ExitStack, count: int) -> Iterator[int]:
    for _ in range(count):
        probe = stack.enter_context(socket.socket())
        probe.bind(("127.0.0.1", 0))
        yield int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
