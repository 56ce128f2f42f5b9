"""`accelwatch run` leaves nothing behind, however it is ended."""

import configparser
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from accelwatch.simulator.cluster import _free_ports

pytestmark = pytest.mark.e2e
WITHIN_SECONDS = 40.0

# The command as on a host that has accelerators, on a free port.
ON_HARDWARE = """
import argparse, sys
from accelwatch.commands import run
run._has_accelerators, run.LISTEN = lambda: True, "127.0.0.1:{port}"
sys.exit(run.run(argparse.Namespace(simulated=False, duration=None)))
"""


def below(directory: Path) -> list[str]:
    """Command lines of processes that name the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdigit() and str(directory) in line:
            found.append(line)
    return found


def until(what: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@contextlib.contextmanager
def started(
    command: list[str], directory: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, as in a terminal; what it says goes to the file `screen`."""
    with (directory / "screen").open("wb") as screen:
        process = subprocess.Popen(
            command, cwd=directory, stdout=screen, stderr=screen, start_new_session=True, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


def test_a_grafana_that_is_installed_is_provisioned(tmp_path: Path) -> None:
    """A stand-in, since none can be installed here: it keeps its arguments, and runs."""
    grafana = tmp_path / "bin" / "grafana-server"
    grafana.parent.mkdir()
    grafana.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexec sleep 600\n')
    grafana.chmod(0o755)
    screen = tmp_path / "screen"
    environment = {**os.environ, "PATH": f"{grafana.parent}:{os.environ['PATH']}"}
    with started([sys.executable, "-m", "accelwatch", "run", "--simulated"], tmp_path, environment) as cluster:
        until("the cluster", lambda: cluster.poll() is not None or b"Faults as they are" in screen.read_bytes())
    said = screen.read_text()
    assert re.search(r"Grafana +http://127\.0\.0\.1:\d+/dashboards", said), said
    arguments = (tmp_path / "arguments").read_text().split()
    settings = configparser.RawConfigParser()
    settings.read(arguments[arguments.index("--config") + 1])
    provisioning = Path(settings["paths"]["provisioning"])
    sources = yaml.safe_load((provisioning / "datasources" / "accelwatch.yml").read_text())["datasources"]
    prometheus = re.search(r"Prometheus +(http://\S+?)/classic", said)
    assert prometheus is not None
    assert sources[0]["url"] == prometheus[1]
    providers = yaml.safe_load((provisioning / "dashboards" / "accelwatch.yml").read_text())["providers"]
    assert len(list(Path(providers[0]["options"]["path"]).glob("*.json"))) == 6
    until("the end of its processes", lambda: not below(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["INT", "HUP"])
def test_a_simulated_cluster_ends_with_all_its_processes(tmp_path: Path, number: signal.Signals) -> None:
    """By Ctrl-C, which the whole foreground group gets, and by a terminal that is closed."""
    screen = tmp_path / "screen"
    with started([sys.executable, "-m", "accelwatch", "run", "--simulated"], tmp_path) as cluster:
        until("the cluster", lambda: cluster.poll() is not None or b"Faults as they are" in screen.read_bytes())
        assert cluster.poll() is None, screen.read_text()
        assert len(below(tmp_path)) >= 6, "four agents, Prometheus and Alertmanager"
        os.killpg(cluster.pid, number)
        assert cluster.wait(15) == 0
    until("the end of its processes", lambda: not below(tmp_path))
    assert screen.read_bytes().strip().endswith(b"nothing is left running")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["INT", "TERM", "HUP"])
def test_the_agent_on_real_hardware_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    """Also when the terminal is closed, which to the daemon would mean a reload."""
    (port,) = _free_ports(1)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    with started([sys.executable, "-c", ON_HARDWARE.format(port=port)], tmp_path) as run:
        until("the agent", answers)
        assert below(tmp_path)
        os.killpg(run.pid, number)
        assert run.wait(10) == 0
        assert not answers()
    until("the end of its processes", lambda: not below(tmp_path))
