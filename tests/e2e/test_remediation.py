"""The site's command with a real agent on a simulated node: rehearsed, run once per incident, killed, stopped by the breaker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from accelwatch.clock import SystemClock
from accelwatch.commands.remediations import document
from accelwatch.detectors.fault import Fault
from accelwatch.faults.shown import shown
from accelwatch.journal import reading
from accelwatch.simulator.cluster import _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Scenario

pytestmark = pytest.mark.e2e
WITHIN_SECONDS = 30.0
# Notes each fault that it gets; the one of device 2 takes longer than the agent lives.
HOOK = """#!/bin/sh
fault=$(cat)
printf '%s\\n' "$fault" >> {directory}/ran
case $fault in *'"device":"2"'*) echo $$ > {directory}/pid; exec sleep 300;; esac
echo "drained $1" >&2
"""


def until(what: str, found: Callable[[], Any], seconds: float = WITHIN_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if answer := found():
                return answer
        time.sleep(0.05)
    pytest.fail(f"{what} did not come within {seconds:g} s")


class Node:
    """A node of eight GPUs without a run, so that each GPU's fault is an incident of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self.port,) = _free_ports(1)
        spec = NodeSpec(name="n", vendor="nvidia", family="hopper", devices=8)
        scenario = Scenario(nodes=(spec,), runs=(), speed=0.001)
        self.hardware = Hardware(scenario, directory, SystemClock(), [self.port])
        self.hardware.start()
        hook = directory / "hook"
        hook.write_text(HOOK.format(directory=directory))
        hook.chmod(0o755)
        self.config = directory / "n" / "accelwatch.yml"
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, **more: Any) -> None:
        configuration = yaml.safe_load(self.config.read_text())
        command = [str(self.directory / "hook"), "this node"]
        configuration["remediation"] = {"command": command, "min_interval": "50ms", "max_per_hour": 3, **more}
        self.config.write_text(yaml.safe_dump(configuration))

    def start(self) -> None:
        with (self.directory / "agent.log").open("ab") as log:
            argv = [sys.executable, "-m", "accelwatch", "--config", str(self.config), "agent"]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until("the node's devices", lambda: len(re.findall(r"accelwatch_device_up\{.*\} [01]", self.page())) == 8)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait(10)

    def page(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def counts(self) -> dict[str, int]:
        found = re.findall(r'accelwatch_remediations_total\{outcome="(\w+)"\} (\d+)', self.page())
        return {outcome: int(count) for outcome, count in found}

    def breaker(self) -> str:
        found = re.search(r"^accelwatch_remediation_breaker_open (\d)$", self.page(), re.MULTILINE)
        return "" if found is None else found[1]

    def command(self, *arguments: str) -> str:
        argv = [sys.executable, "-m", "accelwatch", "--config", str(self.config), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout

    @property
    def journal(self) -> Path:
        return Path(yaml.safe_load(self.config.read_text())["state_dir"])

    def rows(self) -> list[dict[str, Any]]:
        return [document(row) for row in reading.read_remediations(self.journal, 0.0)]

    def faults(self) -> list[Fault]:
        return [shown(episode) for episode in reading.read_faults(self.journal, 0.0)]

    def fault(self, device: int, kind: str = "xid", **parameters: str | int) -> None:
        self.hardware.inject(FaultSpec(fault=kind, node="n", device=device, parameters=parameters))

    def ran(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line)["device"] for line in (self.directory / "ran").read_text().splitlines()]
        return []

    def close(self) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.directory / "pid").read_text()), signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.hardware.close()


def _hash(page: str) -> list[str]:
    return re.findall(r'config_hash="(\w+)"', page)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.close()


def test_one_command_per_incident_until_the_breaker_opens(node: Node) -> None:
    node.configure()
    node.start()
    before = node.page()
    assert node.counts() == dict.fromkeys(node.counts(), 0)
    assert {"succeeded", "failed", "dry_run", "breaker_open"} <= set(node.counts())
    assert node.breaker() == "0"

    # In a rehearsal it is told what would be run.
    node.fault(0, xid=48)
    until("the rehearsal", lambda: node.counts()["dry_run"] == 1)
    (row,) = node.rows()
    assert (row["outcome"], row["device"], row["class"]) == ("dry_run", "0", "mem_uncorrectable")
    assert row["command"] == [str(node.directory / "hook"), "this node"]

    # The real thing, for a lost GPU; what follows on the same GPU is of the same incident.
    node.configure(dry_run=False)
    node.signal(signal.SIGHUP)
    until("the reload", lambda: _hash(node.page()) != _hash(before))
    node.fault(1, "lost")
    until("the command", lambda: node.counts()["succeeded"] == 1)
    node.fault(1, xid=62)
    until("the second fault", lambda: any(f.class_ == "compute_engine" for f in node.faults()))
    told = json.loads((node.directory / "ran").read_text())
    (lost,) = (f for f in node.faults() if f.class_ == "device_lost")
    assert {f.incident for f in node.faults() if f.device == "1"} == {told["incident"]}
    same = ("class", "severity", "vendor", "device", "code", "incident", "action", "first_seen")
    assert {key: told[key] for key in same} == {key: msgspec.to_builtins(lost)[key] for key in same}
    assert told["node"] == "n"

    # Killed while it runs: its end is not known, and it is not run again.
    node.fault(2, xid=48)
    until("the slow command", lambda: (node.directory / "pid").exists())
    node.signal(signal.SIGKILL)
    node.start()
    until("its end", lambda: node.counts()["unknown"] == 1)
    node.fault(3, xid=62)
    until("the third command", lambda: node.counts()["succeeded"] == 2)
    assert node.ran() == ["1", "2", "3"]

    # The fourth within the hour.
    node.fault(4, xid=48)
    until("the breaker", lambda: node.breaker() == "1")
    until("its count", lambda: node.counts()["breaker_open"] == 1)
    assert node.ran() == ["1", "2", "3"]
    assert "was open" in node.command("remediations", "reset", "--reason", "looked at it")
    until("the breaker's end", lambda: node.breaker() == "0")
    node.fault(5, xid=48)
    until("the fourth command", lambda: node.counts()["succeeded"] == 3)
    assert node.ran() == ["1", "2", "3", "5"]
    rows = node.rows()
    assert [(row["outcome"], row["device"]) for row in rows] == [
        ("dry_run", "0"), ("succeeded", "1"), ("unknown", "2"), ("succeeded", "3"), ("breaker_open", "4"),
        ("reset", None), ("succeeded", "5"),
    ]  # fmt: skip
    assert (rows[-1]["stderr"], rows[-1]["exit_status"]) == ("drained this node", 0)
    assert rows[-2]["reason"] == "looked at it"
