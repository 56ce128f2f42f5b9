"""A cluster as a site has it: real agents on simulated nodes, a simulated fleet, Prometheus with the exported rules,
Alertmanager with the exported configuration, and a webhook for every receiver.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from accelwatch.clock import SystemClock
from accelwatch.journal import reading
from accelwatch.server import control
from accelwatch.simulator.cluster import _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario
from paging.pages import Pages
from real_alertmanager import Receiver, until

CLUSTER = "simulated"
READY_SECONDS = 60.0
_FIRST_SEQUENCE = 10**6


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`fast`: nodes whose agents have the fast path. `fleet`: nodes of the simulated fleet, 8 devices each, on which
    `fleet_runs` are (as `simulate fleet --run` takes them). `scrape`: of Prometheus, and its evaluation, in seconds.
    `group_interval`: else as shipped. `apart`: every alert is a group of its own. `exporters`: nodes with a
    node_exporter, which tells a dead node from a silent agent.
    """

    nodes: tuple[NodeSpec, ...]
    runs: tuple[RunSpec, ...]
    fast: frozenset[str]
    fleet: int = 0
    fleet_runs: tuple[str, ...] = ()
    exporters: tuple[str, ...] = ()
    scrape: int = 5
    group_interval: str | None = None
    apart: bool = False


class Stack:
    """Everything runs when it is made, and nothing after `close`."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.plan = plan
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        directory.mkdir(parents=True, exist_ok=True)
        names = [node.name for node in plan.nodes]
        prometheus, alertmanager, *rest = _free_ports(2 + len(names) + len(plan.exporters))
        self.exporter_ports = {name: rest.pop() for name in plan.exporters}
        self.ports = dict(zip(names, rest, strict=True))
        self.prometheus = f"http://127.0.0.1:{prometheus}"
        self.alertmanager = f"http://127.0.0.1:{alertmanager}"
        self.receiver = Receiver()
        threading.Thread(target=self.receiver.server.serve_forever, daemon=True).start()
        self.pages = Pages(self.receiver)
        self.hardware = Hardware(Scenario(nodes=plan.nodes, runs=plan.runs), directory, SystemClock(), rest)
        self._sequence = _FIRST_SEQUENCE
        try:
            self.hardware.start()
            if plan.fleet:
                self._fleet()
            self._monitoring(prometheus, alertmanager)
            for name in names:
                self._configure(name)
                self.agent(name)
            for name in names:
                until(f"the agent of {name}", lambda n=name: self._answers(self.url(n) + "/readyz"), READY_SECONDS)
            for url in (self.prometheus, self.alertmanager):
                until(url, lambda u=url: self._answers(u + "/-/ready"), READY_SECONDS)
        except BaseException:
            self.close()
            raise

    # --- its parts

    def start(self, name: str, argv: Sequence[str]) -> None:
        """A child that `close` ends; its log is `<name>.log`."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(list(argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def agent(self, node: str) -> None:
        """Starts the agent of a node."""
        path = self.directory / node / "accelwatch.yml"
        self.start(node, [sys.executable, "-m", "accelwatch", "--config", str(path), "agent"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends a child by a signal."""
        child = self.children.pop(name)
        child.send_signal(number)
        child.wait(15)

    def run(self, *arguments: str) -> str:
        """The output of an accelwatch command. Fails with what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "accelwatch", *arguments], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"accelwatch {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def url(self, node: str) -> str:
        """Of the node's agent."""
        return f"http://127.0.0.1:{self.ports[node]}"

    def steer(self, *order: str) -> None:
        """`accelwatch simulate steer`."""
        self.run("simulate", "steer", str(self.directory / "fleet"), *order)

    def _configure(self, node: str) -> None:
        path = self.directory / node / "accelwatch.yml"
        document = yaml.safe_load(path.read_text())
        document["sources"]["processes"]["interval"] = "2s"
        if node in self.plan.fast:
            document["alertmanager"] = {"urls": [self.alertmanager], "prometheus": self.prometheus}
        path.write_text(yaml.safe_dump(document))

    def _fleet(self) -> None:
        home = self.directory / "fleet"
        runs = [part for run in self.plan.fleet_runs for part in ("--run", run)]
        self.start(
            "fleet",
            [sys.executable, "-m", "accelwatch", "simulate", "fleet", "--nodes", str(self.plan.fleet), "--devices", "8",
             "--dir", str(home), "--cluster", CLUSTER, "--no-workload", "--no-faults", *runs],
        )  # fmt: skip
        until("the fleet", (home / "targets.json").exists, READY_SECONDS)

    def _monitoring(self, prometheus: int, alertmanager: int) -> None:
        exported = self.directory / "rules"
        self.run("rules", "export", str(exported))
        jobs: dict[str, Any] = {
            "job_name": "accelwatch",
            "static_configs": [
                {"targets": [f"127.0.0.1:{port}"], "labels": {"node": node, "cluster": CLUSTER, "rack": "real"}}
                for node, port in self.ports.items()
            ],
        }
        if self.plan.fleet:
            jobs["file_sd_configs"] = [{"files": [str(self.directory / "fleet" / "targets.json")]}]
        alive: dict[str, Any] = {
            "job_name": "node",
            "static_configs": [
                {"targets": [f"127.0.0.1:{port}"], "labels": {"node": node, "cluster": CLUSTER, "rack": "real"}}
                for node, port in self.exporter_ports.items()
            ],
        }
        for node, port in self.exporter_ports.items():
            listen = f"--web.listen-address=127.0.0.1:{port}"
            self.start(f"{node}-exporter", ["prometheus-node-exporter", listen, "--collector.disable-defaults"])
        every = f"{self.plan.scrape}s"
        document = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(exported / "*.yml")],
            "scrape_configs": [jobs, alive],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
        }
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(document))
        shipped = exported / "alertmanager" / "alertmanager.yml"
        tree = yaml.safe_load(shipped.read_text())
        for receiver in tree["receivers"]:
            receiver["webhook_configs"] = [{"url": f"{self.receiver.url}/{receiver['name']}", "send_resolved": True}]
        for route in (tree["route"], *tree["route"]["routes"]):
            if self.plan.group_interval is not None:
                route["group_interval"] = self.plan.group_interval
            if self.plan.apart:
                route["group_by"] = ["..."]
        # Beside the templates that it names.
        own = shipped.with_name("with-webhooks.yml")
        own.write_text(yaml.safe_dump(tree))
        self.start(
            "alertmanager",
            ["prometheus-alertmanager", f"--config.file={own}", "--cluster.listen-address=",
             f"--web.listen-address=127.0.0.1:{alertmanager}", f"--storage.path={self.directory / 'alertmanager'}"],
        )  # fmt: skip
        self.start(
            "prometheus",
            ["prometheus", f"--config.file={self.directory / 'prometheus.yml'}", f"--web.external-url={self.prometheus}",
             f"--storage.tsdb.path={self.directory / 'tsdb'}", f"--web.listen-address=127.0.0.1:{prometheus}"],
        )  # fmt: skip

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    # --- what happens

    def break_(self, fault: str, node: str, device: int | None = None, **parameters: str | int | float) -> int:
        """Lets a fault begin on a real agent's node; gives its number."""
        return self.hardware.inject(FaultSpec(fault=fault, node=node, device=device, parameters=parameters))

    def kernel(self, node: str, line: str) -> float:
        """Writes one record of the node's kernel log; gives the wall time just before."""
        self._sequence += 1
        record = f"4,{self._sequence},{int(self.hardware.now * 1e6) + 86_400_000_000},-;{line}\n".encode()
        with (self.directory / node / "kmsg").open("ab") as log:
            at = time.time()
            log.write(record)
        return at

    def xid(self, node: str, device: int, number: int, pid: int = 20001) -> float:
        """An Xid in the node's kernel log alone; gives the wall time just before."""
        pci = str(self.hardware.state(node)["nvidia"][device]["pci"]).partition(".")[0]
        return self.kernel(node, f"NVRM: Xid (PCI:{pci}): {number}, pid={pid}, name=python3, an error")

    def clear(self, node: str, **of: str) -> int:
        """An operator clears what is active on a node; gives how many."""
        episodes = [e for e in self.faults(node) if e.active and all(getattr(e, k) == v for k, v in of.items())]
        for episode in episodes:
            request = {"command": "clear", "id": episode.id, "reason": "test"}
            control.ask(self.directory / node / "state" / "control.sock", request, timeout=10)
        return len(episodes)

    def faults(self, node: str) -> list[Any]:
        """The episodes in a real agent's journal."""
        return reading.read_faults(self.directory / node / "state", 0.0)

    # --- what is seen

    def ask(self, query: str) -> list[dict[str, Any]]:
        """An instant query: `metric` and `value` of each series."""
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except OSError:
            return []
        return found

    def metrics(self, node: str) -> str:
        """A real agent's page."""
        with urllib.request.urlopen(self.url(node) + "/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def pss_mib(self, name: str) -> float:
        """Of a child and its own children, in MiB."""
        own = psutil.Process(self.children[name].pid)
        return float(sum(p.memory_full_info().pss for p in (own, *own.children(recursive=True)))) / (1 << 20)

    def close(self) -> None:
        """Ends everything."""
        for child in self.children.values():
            child.terminate()
        deadline = time.monotonic() + 10
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
        self.hardware.close()
        self.receiver.server.shutdown()
        self.receiver.server.server_close()


def joins(run: RunSpec, nodes: int, ranks: int, **more: str) -> str:
    """The fleet's share of a run: `nodes` of it, after the first `ranks`."""
    of = {"nodes": nodes, "world": run.world, "first_rank": ranks, "master": run.nodes[0], **more}
    return f"{run.id}:" + ",".join(f"{name}={value}" for name, value in of.items())


def nodes(vendor: str, names: Iterable[str]) -> tuple[NodeSpec, ...]:
    """Nodes of eight devices of one vendor's usual family."""
    family = "hopper" if vendor == "nvidia" else "910B"
    return tuple(NodeSpec(name=name, vendor=vendor, family=family, devices=8) for name in names)  # type: ignore[arg-type]
