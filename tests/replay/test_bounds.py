"""What the core may cost: memory after ten thousand faults and a thousand runs, and time per reading of 16 devices.

Times are of the processor, not of the wall, and scaled by a loop of known work measured in between, so that a busy
machine is not taken for a slow agent.
"""

from __future__ import annotations

import itertools
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.detectors.base import Answered
from accelwatch.detectors.registry import DETECTORS
from accelwatch.faults.ledger import REMEMBERED_LIMIT
from accelwatch.journal.loaded import Loaded
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.readings.link import LinkKind
from accelwatch.readings.process import DeviceProcess, HostProcess, RunIdentity
from accelwatch.readings.snapshot import Device, Snapshot, read_anew
from accelwatch.taxonomy.loader import load
from support import FakeClock

from .boards import A3, GIB, H100, Board, Load, Model, Port

DEVICES = 16
# The agent's memory by its own issue, and what an agent of 16 devices takes besides its core's past.
LIMIT_BYTES, AGENT_BYTES = 64 << 20, 46 << 20
PAGE_GZIP_BYTES, COMMIT_BYTES = 20_000, 400_000
# A detector's pass, and a fast poll of NVML through all of the core, on a machine that does `calibration` in a
# millisecond (a server of 2023).
PASS_MILLISECONDS, POLL_MILLISECONDS = 5.0, 2.0
MARGIN = 2.0


def calibration() -> int:
    """A millisecond of what detectors do: dictionaries, tuples, comparisons."""
    rows: dict[str, tuple[int, str]] = {}
    for number in range(3000):
        name = f"{number & 255}|x"
        row = (number & 63, name)
        if rows.get(name) != row:
            rows[name] = row
    return len(rows)


def spent(work: Callable[[], object]) -> float:
    """Milliseconds of this thread's processor time."""
    begun = time.thread_time()
    work()
    return (time.thread_time() - begun) * 1000


class Node:
    """16 devices with everything that is read of them, at work."""

    def __init__(self, model: Model) -> None:
        self.rng = random.Random(3)
        self.clock = FakeClock()
        self.core = Core(SteadyClock(self.clock, "boot"), Loaded(), load(), node_name="n", boot_id="boot")
        self.boards = [Board(model, n, self.rng) for n in range(DEVICES)]
        self.nvidia = model is H100
        self.source = "nvml" if self.nvidia else "npu_smi"
        self.ports = (
            [Port(None, f"mlx5_{n}/1", LinkKind.IB, self.rng) for n in range(10)]
            if self.nvidia
            else [Port(board.identity.key, "roce0", LinkKind.ROCE, self.rng) for board in self.boards]
        )
        for board in self.boards:
            board.pids = (DeviceProcess(pid=100 + board.index, name="python3", memory_bytes=60 * GIB),)
        self.full: tuple[Device, ...] = ()
        self.second = 0

    def devices(self) -> Snapshot:
        """A second on: every tenth reading is a full one; now and then something was counted."""
        self.second += 1
        self.clock.now += 1 if self.nvidia else 10
        for board in self.boards:
            board.load = Load(self.rng.uniform(0.9, 1.0) * board.model.full, 0.97, 60 * GIB, 90_000)
            board.run(1)
            if self.rng.random() < 0.01:
                board.corrected("hbm", 1)
                board.link_error(self.rng.randrange(board.model.links), "replay", 1)
        if self.nvidia and self.full and self.second % 10:
            return Snapshot(devices=tuple(b.fast(old) for b, old in zip(self.boards, self.full, strict=True)))
        self.full = tuple(board.full() for board in self.boards)
        return Snapshot(devices=self.full)

    def links(self) -> Snapshot:
        for port in self.ports:
            port.packets += 90_000
        return Snapshot(links=tuple(port.read(self.clock.now) for port in self.ports))

    def processes(self) -> Snapshot:
        node = "nvidia" if self.nvidia else "davinci"
        return Snapshot(
            processes=tuple(
                HostProcess(
                    pid=100 + n,
                    name="python3",
                    started=self.clock.time() - 600,
                    state="running",
                    cpu_seconds=self.clock.now,
                    read_bytes=int(self.clock.now),
                    written_bytes=0,
                    devices=(f"{node}{n}",),
                    instance=n,
                    run=RunIdentity(run_id="17", launcher="slurm", rank=n, world_size=DEVICES),
                )
                for n in range(DEVICES)
            )
        )

    def warm(self) -> None:
        for _ in range(20):
            self.core.answered(self.source, self.devices(), 1.0)
            self.core.answered("processes", self.processes(), 5.0)
            self.core.answered("rdma" if self.nvidia else "hccn_tool", self.links(), 5.0)
            self.core.tick()
            self.core.take_changes()


def passes(node: Node, rounds: int) -> Iterator[Answered]:
    """What detectors are given of such a node."""
    before: Snapshot | None = None
    for number in range(rounds):
        snapshot = node.devices()
        yield Answered(source=node.source, snapshot=snapshot, interval=1.0, fresh=read_anew(before, snapshot))
        before = snapshot
        if number % 5 == 0:
            yield Answered(source="rdma" if node.nvidia else "hccn_tool", snapshot=node.links(), interval=5.0)


@pytest.mark.parametrize("model", [H100, A3], ids=["nvidia", "ascend"])
def test_no_detector_takes_long_for_16_devices(model: Model) -> None:
    node = Node(model)
    node.warm()
    context = node.core.context()
    states = {detector.name: detector.start() for detector in DETECTORS}
    times: dict[str, list[float]] = {detector.name: [] for detector in DETECTORS}
    together, units = [], []
    for reading in passes(node, 150):
        units.append(spent(calibration))
        total = 0.0
        for detector in DETECTORS:
            begun = time.thread_time()
            states[detector.name], _ = detector.step(states[detector.name], reading, node.clock.now, context)
            took = (time.thread_time() - begun) * 1000
            times[detector.name].append(took)
            total += took
        together.append(total)
    unit = statistics.median(units)
    slowest = max(times, key=lambda name: _p99(times[name]))
    print(
        f"{model.name} x {DEVICES}: all detectors median {statistics.median(together):.3f} ms, p99 {_p99(together):.3f} ms; "
        f"slowest {slowest}: median {statistics.median(times[slowest]):.3f}, p99 {_p99(times[slowest]):.3f}; "
        f"calibration {unit:.3f} ms"
    )
    for name, measured in times.items():
        assert _p99(measured) <= PASS_MILLISECONDS * MARGIN * unit, name
    assert _p99(together) <= PASS_MILLISECONDS * MARGIN * unit


def test_a_fast_poll_of_16_gpus_through_the_core() -> None:
    node = Node(H100)
    node.warm()
    parts: dict[str, list[float]] = {"answered": [], "tick": [], "changes": [], "all": []}
    page, units = [], []
    renderer = Renderer(AgentMetrics())
    status = AgentStatus(node="n", config_hash="0", labels={})
    for number in range(300):
        snapshot = node.devices()
        took = [
            spent(lambda snapshot=snapshot: node.core.answered("nvml", snapshot, 1.0)),
            spent(node.core.tick),
            spent(node.core.take_changes),
        ]
        for name, value in zip(parts, (*took, sum(took)), strict=True):
            parts[name].append(value)
        if number % 5 == 0:
            node.core.answered("processes", node.processes(), 5.0)
            node.core.answered("rdma", node.links(), 5.0)
            units.append(spent(calibration))
            page.append(
                spent(
                    lambda: renderer.render(
                        node.core.node.view(), (), status, node.core.fault_view({"nvml"}, 0), node.core.run_page()
                    )
                )
            )
    unit = statistics.median(units)
    told = ", ".join(f"{name} {statistics.median(v):.3f} (p99 {_p99(v):.3f})" for name, v in parts.items())
    print(f"NVML poll of 16 H100, ms: {told}; page {statistics.median(page):.3f}; calibration {unit:.3f}")
    assert statistics.median(parts["all"]) <= POLL_MILLISECONDS * MARGIN * unit


def test_what_is_only_repeated_costs_detectors_next_to_nothing() -> None:
    """A fast poll of NVML repeats all but the sensors."""
    node = Node(H100)
    node.warm()
    context = node.core.context()
    fast, full = [], []
    states = {detector.name: detector.start() for detector in DETECTORS}
    for reading in itertools.islice(passes(node, 200), 20, None):
        if reading.source == "nvml":
            begun = time.thread_time()
            for detector in DETECTORS:
                states[detector.name], _ = detector.step(states[detector.name], reading, node.clock.now, context)
            (full if reading.fresh is None or "links" in reading.fresh else fast).append(time.thread_time() - begun)
    assert statistics.median(fast) < 0.5 * statistics.median(full)


@pytest.mark.parametrize("model", [H100, A3], ids=["nvidia", "ascend"])
def test_passing_over_what_is_repeated_changes_no_finding(model: Model) -> None:
    """Nothing that a detector times ends earlier or later than the next full reading."""
    node = Node(model)
    context = node.core.context()
    told = []
    for hidden in (False, True):
        node = Node(model)
        states = {detector.name: detector.start() for detector in DETECTORS}
        found = []
        for reading in passes(node, 400):
            if hidden:
                reading = msgspec.structs.replace(reading, fresh=None)
            for detector in DETECTORS:
                states[detector.name], findings = detector.step(states[detector.name], reading, node.clock.now, context)
                found += [(node.clock.now, finding) for finding in findings]
        told.append(found)
    assert told[0]
    assert told[0] == told[1]


def test_memory_page_and_commits_after_ten_thousand_faults_and_a_thousand_runs(tmp_path: Path) -> None:
    script = Path(__file__).with_name("many_faults.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "10000", "1000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    growth = told["grown"] - told["base"]
    print(
        f"PSS {told['base'] / 2**20:.1f} MB, after {told['episodes']} episodes and {told['runs']:.0f} runs "
        f"{told['grown'] / 2**20:.1f} MB; page {max(told['pages'])} bytes gzip; largest commit {told['last_commits']} bytes"
    )
    assert told["episodes"] >= 10_000
    assert told["runs"] >= 990  # the last ones have no final cause yet
    assert growth + AGENT_BYTES <= LIMIT_BYTES
    # The same agent started again on that journal, beside the old one.
    assert told["started_again"] - told["grown"] + AGENT_BYTES <= LIMIT_BYTES
    assert told["remembered"] <= REMEMBERED_LIMIT * 1.1 + told["active"]
    assert told["loaded"] <= REMEMBERED_LIMIT * 1.1 + told["active"]
    assert told["runs_lost"] <= 4  # of those that go well the last ones make room first, after a start at once
    assert max(told["pages"]) <= PAGE_GZIP_BYTES
    assert told["last_commits"] <= max(COMMIT_BYTES, 1.3 * told["first_commits"])
    # It has stopped growing: the last quarter of pages is as large as the one before.
    quarter = len(told["pages"]) // 4
    assert max(told["pages"][-quarter:]) <= 1.1 * max(told["pages"][-2 * quarter : -quarter])


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]
