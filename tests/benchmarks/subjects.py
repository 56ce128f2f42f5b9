"""What is measured beside each other: agents on simulated hosts, and what people run today."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import processes
import yaml
from root_helper import MAY_RUN, RootHelper
from scrapes import answered, until

HOSTS = Path(__file__).with_name("hosts.py")
ROOT = Path(__file__).resolve().parents[2]
# Both environments are made by `make bench`. The first has what a node has: the one of the tests has packages that our
# libraries load when they find them, 3 MB of them.
NODE_PYTHON = ROOT / ".venv-node" / "bin" / "python"
NVITOP = ROOT / ".venv-bench" / "bin" / "nvitop-exporter"
UNIT = ROOT / "systemd" / "accelwatch.service"

# What the units say of memory; the rest of their environment is of a host with drivers.
MALLOC = dict(re.findall(r"^Environment=(MALLOC_\w+)=(\S+)$", UNIT.read_text(), re.MULTILINE))


@dataclass
class Subject:
    """One program that serves /metrics. `complete`: whether a page of it has everything that it measures.

    `helper`: what runs beside it as a service of its own, and is part of what it costs.
    """

    key: str
    argv: Sequence[str]
    port: int
    complete: Callable[[bytes], bool]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    helper: RootHelper | None = None

    def start(self) -> float:
        """Seconds until its first complete page."""
        asks = {}
        if self.helper is not None:
            self.helper.start()
            asks = self.helper.environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment, **asks},
            )
        return until(f"{self.key}: the first complete page (its output is in {self.log.name})", self._ready)

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"{self.key}: has ended with status {self.process.returncode}:\n{self.log.read_text()[-2000:]}"
            )
        page = answered(self.port, "/metrics")
        return page is not None and self.complete(page)

    @property
    def pids(self) -> list[int]:
        """Its processes that stay, its helper's among them."""
        assert self.process is not None
        return [*processes.family(self.process.pid), *(self.helper.pids if self.helper is not None else ())]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after ten seconds."""
        if self.helper is not None:
            self.helper.stop()
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextmanager
def simulated_hosts(directory: Path, devices: int, ports: Mapping[str, int]) -> Iterator[None]:
    """`ports` of the agents by the name of their node."""
    words = [f"{name}={port}" for name, port in ports.items()]
    with subprocess.Popen(
        [sys.executable, str(HOSTS), str(directory), str(devices), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as hosts:
        assert hosts.stdin is not None
        assert hosts.stdout is not None
        if hosts.stdout.readline() != b"ready\n":
            raise AssertionError(f"the simulated hosts have ended with status {hosts.wait()}")
        yield
        hosts.stdin.close()


def agent(name: str, directory: Path, devices: int, port: int) -> Subject:
    """An agent at its default intervals, in the environment of its unit, with its root helper where one may run."""
    configuration = directory / name / "accelwatch.yml"
    document = yaml.safe_load(configuration.read_text())
    for source in document["sources"].values():
        source.pop("interval", None)
    configuration.write_text(yaml.safe_dump(document))
    return Subject(
        key=name,
        argv=[str(NODE_PYTHON), "-m", "accelwatch", "--config", str(configuration), "agent"],
        port=port,
        complete=lambda page: page.count(b"\naccelwatch_device_utilization_ratio{") == devices,
        log=directory / f"{name}.log",
        environment=MALLOC,
        helper=RootHelper(NODE_PYTHON, directory / name, MALLOC) if MAY_RUN else None,
    )


def node_exporter(directory: Path, port: int) -> Subject:
    """Debian's. By default it refuses more than 40 requests at once (503)."""
    return Subject(
        key="node_exporter",
        argv=["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--web.max-requests=0"],
        port=port,
        complete=lambda page: b"\nnode_cpu_seconds_total{" in page,
        log=directory / "node_exporter.log",
    )


def nvitop_exporter(directory: Path, node: str, devices: int, port: int) -> Subject | None:
    """On the NVML of a node, at its default interval of a second; `None` where it is not installed."""
    if not NVITOP.exists():
        return None
    return Subject(
        key="nvitop_exporter",
        argv=[str(NVITOP), "--hostname", "bench", "--bind-address", "127.0.0.1", "--port", str(port)],
        port=port,
        complete=lambda page: page.count(b"\ngpu_utilization_Percentage{") == devices,
        log=directory / "nvitop_exporter.log",
        environment={"LD_LIBRARY_PATH": str(directory / node)},
    )


def versions() -> dict[str, str]:
    """Of what was measured."""
    told = {"Python": sys.version.split()[0]}
    own = subprocess.run([sys.executable, "-m", "accelwatch", "--version"], capture_output=True, text=True, check=True)
    told["accelwatch"] = own.stdout.split()[-1]
    binary = shutil.which("prometheus-node-exporter")
    if binary is not None:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
        told["node_exporter"] = (said.stdout or said.stderr).split()[2]
    if NVITOP.exists():
        said = subprocess.run([str(NVITOP), "--version"], capture_output=True, text=True, check=True)
        told["nvitop-exporter"] = said.stdout.split()[-1].rstrip(")")
    return told
