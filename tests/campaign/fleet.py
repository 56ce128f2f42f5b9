"""Simulated nodes with real agents: what a campaign injects into, kills, scrapes, and whose journals it reads."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from accelwatch.clock import SystemClock
from accelwatch.faults.episode import Episode
from accelwatch.journal import reading
from accelwatch.journal.rows import JournalError
from accelwatch.runs.model import RunRecord
from accelwatch.simulator.cluster import _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import NodeSpec, Phase, RunSpec, Scenario

# A source that takes longer than a quarter of its interval stretches it, and two cores bear four nodes of eight
# devices; so these are what a campaign runs with. Sources that are not named keep their own interval.
INTERVALS: Mapping[str, Mapping[str, str]] = {
    "nvml": {"interval": "1s", "timeout": "2s"},
    "npu_smi": {"interval": "3s", "timeout": "5s"},
    "hccn_tool": {"interval": "10s", "timeout": "5s"},
    "rdma": {"interval": "2s"},
    "hccl_log": {"interval": "2s"},
    "processes": {"interval": "2s"},
}
_LAUNCHERS = ("slurm", "torchrun", "mindx", "mpi")
_SERIES = re.compile(r"^(accelwatch_\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


class Fleet:
    """One directory, one process of hardware (this one), and an agent for each node, each node with a run of its own."""

    def __init__(
        self,
        directory: Path,
        specs: Sequence[NodeSpec],
        own_intervals: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None,
    ) -> None:
        """`own_intervals`: by node, beside `INTERVALS`."""
        self.directory = directory
        self.specs = {spec.name: spec for spec in specs}
        self.ports = dict(zip(self.specs, _free_ports(len(specs)), strict=True))
        runs = tuple(
            RunSpec(id=str(7001 + n), nodes=(s.name,), launcher=_LAUNCHERS[n % 4], first_pid=20_000 + 100 * n)  # type: ignore[arg-type]
            for n, s in enumerate(specs)
        )
        scenario = Scenario(nodes=tuple(specs), runs=runs, workload=(Phase(phase="train"),))
        self.hardware = Hardware(scenario, directory, SystemClock(), list(self.ports.values()))
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        for spec in specs:
            self._configure(spec.name, {**INTERVALS, **(own_intervals or {}).get(spec.name, {})})
            self.write_log(spec.name, "step 1 loss 2.31 lr 3e-4")
        self.hardware.start()

    def _configure(self, node: str, intervals: Mapping[str, Mapping[str, str]]) -> None:
        path = self.directory / node / "accelwatch.yml"
        configuration = yaml.safe_load(path.read_text())
        configuration["sources"]["hccl_log"] = {"paths": [str(self.directory / node / "job.log")]}
        for source, keys in intervals.items():
            if configuration["sources"].get(source, {}).get("enabled") is not False:
                configuration["sources"].setdefault(source, {}).update(keys)
        path.write_text(yaml.safe_dump(configuration))

    def interval(self, node: str, source: str) -> float:
        """Of the configuration, in seconds."""
        text = str(
            yaml.safe_load((self.directory / node / "accelwatch.yml").read_text())["sources"][source]["interval"]
        )
        return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))

    def write_log(self, node: str, text: str) -> None:
        """A line of the node's training log."""
        with (self.directory / node / "job.log").open("a") as log:
            log.write(text + "\n")

    # --- agents

    def start(self, node: str) -> None:
        """Starts the node's agent; its log is added to."""
        with (self.directory / f"{node}.log").open("ab") as log:
            self._agents[node] = subprocess.Popen(
                [sys.executable, "-m", "accelwatch", "--config", str(self.directory / node / "accelwatch.yml"), "agent"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def kill(self, node: str) -> None:
        """SIGKILL to the agent itself; returns when it is gone. Its children notice by themselves."""
        agent = self._agents.pop(node)
        agent.send_signal(signal.SIGKILL)
        agent.wait()

    def ended(self) -> list[str]:
        """Nodes whose agent has ended by itself."""
        return [node for node, agent in self._agents.items() if agent.poll() is not None]

    def page(self, node: str) -> str:
        """The agent's metrics. Raises `OSError` while it does not answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[node]}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def series(self, node: str) -> dict[str, float]:
        """Every series of the page by its name with labels."""
        return {name: float(value) for name, value in _SERIES.findall(self.page(node))}

    # --- journals

    def faults(self, node: str, since: float = 0.0) -> list[Episode]:
        """From the node's journal, while its agent writes; none before there is one."""
        try:
            return reading.read_faults(self.directory / node / "state", since)
        except JournalError:
            return []

    def runs(self, node: str) -> list[RunRecord]:
        """From the node's journal."""
        try:
            return reading.read_runs(self.directory / node / "state", 0.0)
        except JournalError:
            return []

    def close(self) -> None:
        """Ends everything."""
        for agent in self._agents.values():
            agent.terminate()
        deadline = time.monotonic() + 5
        for agent in self._agents.values():
            try:
                agent.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(agent.pid, signal.SIGKILL)
                agent.wait()
        self.hardware.close()
