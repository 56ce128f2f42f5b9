"""What the test inside a booted system asks of it: its units, processes, files, and the agent's page."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
import urllib.request
from collections.abc import Callable
from typing import Any

DEVICES = 4  # of the scenario `one-of-each`


def run(*command: str) -> str:
    """Standard output; what failed is told with its own words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def show(name: str, unit: str = "accelwatch.service") -> str:
    return run("systemctl", "show", "--value", "-p", name, unit).strip()


def asked(*words: str) -> dict[str, Any]:
    """What the command says, as JSON."""
    done = subprocess.run(["/usr/local/bin/accelwatch", *words, "--json"], capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout))


def process(pid: str | int, name: str) -> str:
    """One line of its status, as proc(5) has it."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def get(path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:9817{path}", timeout=5) as answer:
        return answer.read().decode()


def until(what: str, true: Callable[[], bool], seconds: float) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while True:
        try:
            if true():
                return time.monotonic() - began
        except OSError:
            pass
        if time.monotonic() - began > seconds:
            log = run("journalctl", "-u", "accelwatch", "-n", "20", "--no-pager")
            raise AssertionError(f"{what}: not within {seconds:g} s\n{log}")
        time.sleep(0.05)


def members() -> set[int]:
    """The unit's processes."""
    group = pathlib.Path("/sys/fs/cgroup" + show("ControlGroup"), "cgroup.procs")
    return {int(pid) for pid in group.read_text().split()}


def workers() -> set[int]:
    """Its children that stay: the NVML worker."""
    return {pid for pid in members() if b"nvml_worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()}


def devices() -> bool:
    return get("/metrics").count("accelwatch_device_power_watts{") == DEVICES


def say(text: str) -> None:
    print(f"ok  {text}", flush=True)


def kernel_says(log: str, number: int, text: str) -> None:
    """One record, as /dev/kmsg has it. Opened for both ways: a FIFO without a reader would block."""
    descriptor = os.open(log, os.O_RDWR | os.O_APPEND)
    os.write(descriptor, f"3,{number},{time.monotonic_ns() // 1000},-;{text}\n".encode())
    os.close(descriptor)


def episodes() -> float:
    lines = [line for line in get("/metrics").splitlines() if line.startswith("accelwatch_fault_episodes_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def installed(places: tuple[str, ...]) -> set[str]:
    """Every path below `places` that has accelwatch in it; compiled Python comes and goes by itself."""
    found = run("find", *places, "-path", "*accelwatch*", "-not", "-path", "/root/.cache/*").splitlines()
    return {path for path in found if "__pycache__" not in path}
