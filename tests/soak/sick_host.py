"""A simulated node with a real agent whose clock can step and whose disk can be slow, full, read-only or damaged."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from accelwatch.clock import SystemClock
from accelwatch.faults.episode import Episode
from accelwatch.journal.reading import read_faults
from accelwatch.simulator.cluster import _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario

SHIM = Path(__file__).with_name("sick_host.c")
NODE = "n"
WITHIN_SECONDS = 30.0
FAMILY = {"nvidia": "hopper", "ascend": "910B"}


class NotInTime(AssertionError):
    """What was waited for did not come."""


def until(what: str, found: Callable[[], Any], seconds: float = WITHIN_SECONDS) -> Any:
    """The first true answer; an agent that is not there yet gives none. Raises `NotInTime`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if answer := found():
                return answer
        time.sleep(0.05)
    raise NotInTime(f"{what} did not come within {seconds:g} s")


class SickHost:
    """One node, and its agent. `state`: its state directory, else one beside the node's other files."""

    def __init__(
        self,
        directory: Path,
        vendor: str,
        devices: int = 2,
        *,
        sources: dict[str, dict[str, Any]] | None = None,
        state: Path | None = None,
        tick_seconds: float = 0.2,
    ) -> None:
        """`sources`: settings beside those of the simulated node. Raises `CompilerMissing`, `CalledProcessError`."""
        (port,) = _free_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        spec = NodeSpec(name=NODE, vendor=vendor, family=FAMILY[vendor], devices=devices)  # type: ignore[arg-type]
        scenario = Scenario(nodes=(spec,), runs=(RunSpec(id="4711", nodes=(NODE,)),))
        directory.mkdir(parents=True, exist_ok=True)
        self.hardware = Hardware(scenario, directory, SystemClock(), [port], tick_seconds)
        self.home = directory / NODE
        self.log = directory / "agent.log"
        self.config = self.home / "accelwatch.yml"
        self.settings = yaml.safe_load(self.config.read_text())
        for name, own in (sources or {}).items():
            self.settings["sources"].setdefault(name, {}).update(own)
        self.state = state or self.home / "state"
        self.settings["state_dir"] = str(self.state)
        self.write_settings()
        self._shim = directory / "sick_host.so"
        command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(self._shim), str(SHIM), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        told = directory / "sick_host"
        told.write_bytes(bytes(16))
        with told.open("r+b") as file:
            self._told = mmap.mmap(file.fileno(), 16)
        self._environment = {**os.environ, "LD_PRELOAD": str(self._shim), "SICK_HOST": str(told)}
        self.process: subprocess.Popen[bytes] | None = None
        self.hardware.start()

    def start(self) -> None:
        """Starts the agent; what it says is appended to `log`."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "accelwatch", "--config", str(self.config), "agent"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=self._environment,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The agent's."""
        assert self.process is not None
        return self.process.pid

    def stop(self, kill: bool = False) -> None:
        """SIGTERM, or SIGKILL, and waits for its end."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Ends agent and hardware."""
        self.stop()
        self.hardware.close()
        self._told.close()

    def write_settings(self) -> None:
        """The configuration's file; for SIGHUP to read."""
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))

    def step_clock(self, seconds: float) -> None:
        """The wall clock is so much ahead of the true one from now on."""
        self._told[:8] = struct.pack("d", seconds)

    def slow_disk(self, seconds: float) -> None:
        """Each sync takes so long from now on."""
        self._told[8:] = struct.pack("d", seconds)

    def page(self) -> str:
        """The page of metrics. Raises `OSError`."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def value(self, series: str) -> float | None:
        """The sum of the samples whose name and labels begin so; `None` without any."""
        found = [line.rpartition(" ")[2] for line in self.page().splitlines() if line.startswith(series)]
        return sum(map(float, found)) if found else None

    def inject(self, fault: str, device: int | None = 0, **parameters: str | int | float) -> int:
        """A fault from now on; gives its number."""
        return self.hardware.inject(FaultSpec(fault=fault, node=NODE, device=device, parameters=parameters))

    def xid(self, code: int, device: int = 0) -> None:
        """A line of the NVIDIA driver, once."""
        self.inject("xid", device, xid=code)

    def shown(self, code: str) -> bool:
        """Whether an active fault of this code is on the page."""
        return bool(
            re.search(rf'^accelwatch_fault_active\{{[^\n]*code="{code}"[^\n]*\}} 1$', self.page(), re.MULTILINE)
        )

    def journalled(self) -> list[Episode]:
        """Every fault in the journal. Raises `JournalError`."""
        return read_faults(self.state, 0.0)

    def said(self, words: str) -> list[str]:
        """Lines of the agent's log that have these words."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if words in line]


class SmallDisk:
    """A tmpfs of its own; needs root."""

    def __init__(self, at: Path, megabytes: int = 2) -> None:
        """Raises `PermissionError` where file systems cannot be mounted."""
        self.at = at
        at.mkdir(parents=True, exist_ok=True)
        mounted = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(at)]
        if os.geteuid() != 0 or subprocess.run(mounted, check=False, capture_output=True).returncode:
            raise PermissionError("file systems cannot be mounted here")

    def fill(self) -> None:
        """Takes the last byte."""
        descriptor = os.open(self.at / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, bytes(4096))
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        """There is room again."""
        (self.at / "filler").unlink()

    def read_only(self, yes: bool) -> None:
        """As a kernel does with a disk that fails. Refused while the agent writes: see `mount(8)`, EBUSY."""
        subprocess.run(["mount", "-o", "remount,ro" if yes else "remount,rw", str(self.at)], check=True)

    def close(self) -> None:
        """Unmounts it."""
        subprocess.run(["umount", "-l", str(self.at)], check=False)
        shutil.rmtree(self.at, ignore_errors=True)
