"""Real processes under a real kernel: only the open device node is made up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.clock import SystemClock
from accelwatch.readings.process import ProcessExit
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.model import Outcome, RunRecord
from accelwatch.runs.tracker import RunTracker
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.processes import Processes

# Starts two ranks, waits for their pids to be read, and ends the other one when one has ended.
LAUNCHER = """
import os, resource, subprocess, sys, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
ranks = [subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],
    env={**os.environ, 'RANK': str(n), 'WORLD_SIZE': '2', 'SECRET_TOKEN': 'x'}, start_new_session=True) for n in (0, 1)]
time.sleep(.3)  # the kernel shows no environment until it has loaded the program
print(*(rank.pid for rank in ranks), flush=True)
while all(rank.poll() is None for rank in ranks):
    time.sleep(.02)
time.sleep(.1)
for rank in ranks:
    rank.terminate()
    rank.wait()
sys.exit(1)
"""


class Node:
    def __init__(self) -> None:
        self.holders: list[int] = []
        self.told: list[ProcessExit] = []
        node = self

        class Reads(LocalReads):
            def open_files(self, proc: Path, pid: int) -> list[str]:
                return [f"/dev/nvidia{node.holders.index(pid)}"] if pid in node.holders else []

        self.clock = SystemClock()
        self.source = Processes(proc=Path("/proc"), reads=Reads(ToolRunner()), clock=self.clock, exits=self.told.extend)
        self.source.start()
        self.tracker = RunTracker("here", own_pid=os.getpid())
        self.ended: list[RunRecord] = []

    def look(self) -> None:
        devices = [
            HeldDevice(vendor="nvidia", device=str(n), node=f"nvidia{n}", pids=(pid,))
            for n, pid in enumerate(self.holders)
        ]
        told, self.told[:] = list(self.told), []
        now, wall = self.clock.monotonic(), self.clock.time()
        processes = self.source.poll(everything=True).processes
        self.ended += self.tracker.step(processes, devices, told, now, wall).ended

    def until_ended(self) -> RunRecord:
        deadline = time.monotonic() + 10
        while not self.ended:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            self.look()
        return self.ended[0]


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    if not made.source.exits_followed:
        made.source.close()
        pytest.skip("process events cannot be followed here")
    yield made
    made.source.close()


def launch(node: Node, **environment: str) -> tuple[subprocess.Popen[str], list[int]]:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert launcher.stdout is not None
    with launcher.stdout:
        pids = [int(word) for word in launcher.stdout.readline().split()]
    node.holders = pids
    return launcher, pids


def test_a_rank_that_is_killed_takes_its_run_down(node: Node) -> None:
    """The launcher's SIGTERM to the other one is no second cause."""
    launcher, pids = launch(node, SLURM_JOB_ID="4711", SLURM_JOB_PARTITION="h100")
    try:
        node.look()
        (record,) = node.tracker.open
        assert (record.run_id, record.attempt, record.partition, record.world_size) == ("4711", "0", "h100", 2)
        assert [(d.device, d.rank, d.pid) for d in record.devices] == [("0", 0, pids[0]), ("1", 1, pids[1])]
        assert abs(record.started - time.time()) < 10
        os.kill(pids[1], signal.SIGSEGV)
        ended = node.until_ended()
        assert ended.outcome is Outcome.FAILED
        assert ended.detail.startswith(f"rank 1 (pid {pids[1]}): SIGSEGV")
        assert abs((ended.ended or 0) - time.time()) < 10
    finally:
        launcher.kill()
        launcher.wait()
        for pid in pids:
            end_for_good(pid)


def test_without_a_name_a_run_is_its_launchers_process_group(node: Node) -> None:
    launcher, pids = launch(node)
    try:
        node.look()
        (record,) = node.tracker.open
        assert record.run_id.startswith(f"here/{launcher.pid}-")
        assert len(record.devices) == 2
        os.kill(pids[0], signal.SIGTERM)
        assert node.until_ended().outcome is Outcome.KILLED
    finally:
        launcher.kill()
        launcher.wait()
        for pid in pids:
            end_for_good(pid)


def end_for_good(pid: int) -> None:
    """Ends a rank that its launcher left behind."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
