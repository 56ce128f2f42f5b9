"""A simulated fleet with everything broken once, scraped by a real Prometheus with the shipped rules."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).resolve().parents[2] / "alerts" / "rules"
STEP_SECONDS = 2
RUN, LOST_RUN = "5001", "5002"
ALL_ENDS_SECONDS = 30.0


def hours_shortened(text: str) -> str:
    """A shipped rule file whose hour, five minutes or minute is a step: what is recorded then is there at once.

    The hours themselves are the rules' own tests' business; here their series only have to be there.
    """
    text = re.sub(r"interval: (?:1h|5m|1m)\b", f"interval: {STEP_SECONDS}s", text)
    text = re.sub(r"offset 30s\b", f"offset {STEP_SECONDS // 2}s", text)
    return re.sub(r"\b2700\b", str(STEP_SECONDS), text)


@contextlib.contextmanager
def served(directory: Path, nodes: int = 8, devices: int = 4) -> Iterator[str]:
    """The URL of the Prometheus; some runs and faults of both vendors are under way when it is given."""
    rules = directory / "rules"
    rules.mkdir(parents=True)
    for path in RULES.glob("*.yml"):
        (rules / path.name).write_text(hours_shortened(path.read_text()))
    fleet_dir = directory / "fleet"
    with contextlib.ExitStack() as stack:
        _start(
            stack,
            directory / "fleet.log",
            [
                sys.executable,
                "-m",
                "accelwatch",
                "simulate",
                "fleet",
                "--nodes",
                str(nodes),
                "--devices",
                str(devices),
                "--dir",
                str(fleet_dir),
                "--step",
                f"{STEP_SECONDS}s",
                "--no-workload",
                "--no-faults",
                "--run",
                f"{RUN}:nodes={nodes // 2 - 1},vendor=nvidia",
                "--run",
                f"{LOST_RUN}:nodes={nodes // 2 - 1},vendor=ascend",
            ],
        )
        _until("the fleet", lambda: (fleet_dir / "targets.json").exists())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        scrape = {"job_name": "accelwatch", "file_sd_configs": [{"files": [str(fleet_dir / "targets.json")]}]}
        seconds = f"{STEP_SECONDS}s"
        (directory / "prometheus.yml").write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": seconds, "evaluation_interval": seconds, "scrape_timeout": seconds},
                    "rule_files": [str(rules / "*.yml")],
                    "scrape_configs": [scrape],
                }
            )
        )
        _start(
            stack,
            directory / "prometheus.log",
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
        )
        url = f"http://127.0.0.1:{port}"
        _until("Prometheus", lambda: bool(ask(url, "vector(1)")))
        _until("the fleet's pages", lambda: bool(ask(url, "accelwatch:devices:count and on () accelwatch:run:devices")))
        _break(directory, url, nodes)
        yield url


def ask(url: str, question: str) -> list[Any]:
    """The answer's series; none while it cannot be asked."""
    try:
        address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': question})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
            return found
    except OSError:
        return []


def _break(directory: Path, url: str, nodes: int) -> None:
    """A GPU is lost, an NPU's port is down, links drop, a node falls silent, a run hangs and another ends."""
    half = nodes // 2
    gpu, npu = ((lambda n: f"simgpu-{n:04d}"), (lambda n: f"simnpu-{n + half:04d}"))
    order = [sys.executable, "-m", "accelwatch", "simulate"]
    where = str(directory / "fleet")

    def say(*words: str) -> None:
        done = subprocess.run([*order, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    _until("work", lambda: bool(ask(url, f'accelwatch:run:activity:count{{run_id="{RUN}",state="busy"}} > 0')))
    say("inject", where, "ecc_uncorrected", "--node", gpu(1), "--device", "1", "count=1", "cascade=1")
    say("inject", where, "ecc_corrected", "--node", gpu(1), "--device", "2", "count=50", "per_second=1")
    say("inject", where, "link_flap", "--node", gpu(2), "--device", "0", "link=3", "down=4", "period=8")
    say("inject", where, "thermal", "--node", gpu(2), "--device", "3", "celsius=97", "megahertz=900")
    say("inject", where, "pcie_degraded", "--node", gpu(2), "--device", "1", "width=8", "generation=3")
    say("inject", where, "lost", "--node", npu(1), "--device", "2")
    say("inject", where, "roce_down", "--node", npu(2), "--device", "1")
    say("steer", where, "hang", RUN, "--culprit", f"{gpu(1)}/1")
    say("steer", where, "end", LOST_RUN, "--how", "failed")
    say("steer", where, "silent", npu(half))


def _start(stack: contextlib.ExitStack, log: Path, argv: list[str]) -> None:
    with log.open("wb") as output:
        child = subprocess.Popen(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    stack.callback(_end, child)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(ALL_ENDS_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _until(what: str, true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


if __name__ == "__main__":
    with served(Path(sys.argv[1]), int(sys.argv[2]), 8) as address:
        print(address, flush=True)
        signal.pause()
