"""From a simulated host's files to runs: the source of processes, their exits, and the tracker together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.config import Duration
from accelwatch.readings.process import ProcessExit
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.model import Outcome, RunRecord
from accelwatch.runs.tracker import RunTracker
from accelwatch.simulator.host_files import HostFiles
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario
from accelwatch.simulator.world import World
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.processes import Processes
from support import FakeClock


class Simulation:
    """Node 2 of a run over two nodes; the clock moves with `to`."""

    def __init__(self, directory: Path, vendor: str, launcher: str) -> None:
        family = "hopper" if vendor == "nvidia" else "910B"
        specs = tuple(NodeSpec(name=f"n{n}", vendor=vendor, family=family, devices=2) for n in (1, 2))  # type: ignore[arg-type]
        self.clock = FakeClock()
        self.began = self.clock.now
        run = RunSpec(id="r1", nodes=("n1", "n2"), launcher=launcher)  # type: ignore[arg-type]
        self.world = World(Scenario(nodes=specs, runs=(run,)), self.clock.time())
        self.vendor = vendor
        self.files = HostFiles(directory, specs[1], 1)
        self.faults: list[FaultSpec] = []
        self.told: list[ProcessExit] = []
        self.files.write(self.world.node("n2", 0.0))
        self.source = Processes(
            proc=directory / "proc", reads=LocalReads(ToolRunner()), clock=self.clock, exits=self.told.extend
        )
        self.source.start()
        self.tracker = RunTracker("n2")
        self.ended: list[RunRecord] = []

    def to(self, second: float, exits: int = 0) -> None:
        self.clock.now = self.began + second
        node = self.world.node("n2", second, self.faults)
        self.files.write(node)
        deadline = time.monotonic() + 5.0
        while len(self.told) < exits:
            assert time.monotonic() < deadline, f"{len(self.told)} of {exits} exits"
            time.sleep(0.01)
        devices = [
            HeldDevice(
                vendor=self.vendor, device=str(device.index), model=device.model,
                node=f"{'nvidia' if self.vendor == 'nvidia' else 'davinci'}{device.index}",
                pids=tuple(process.pid for process in device.processes),
            )
            for device in (*node.nvidia, *node.ascend)
        ]  # fmt: skip
        told, self.told[:] = list(self.told), []
        now, wall = self.clock.monotonic(), self.clock.time()
        changes = self.tracker.step(self.source.poll(everything=True).processes, devices, told, now, wall)
        self.ended += changes.ended

    def death(self, at: float, **parameters: int) -> None:
        self.faults.append(
            FaultSpec(
                fault="process_death", node="n2", at=Duration(at), clear_after=Duration(5), parameters=dict(parameters)
            )
        )


@pytest.fixture(params=[("nvidia", "slurm"), ("ascend", "mindx"), ("nvidia", "torchrun"), ("ascend", "mpi")])
def simulation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Simulation]:
    made = Simulation(tmp_path, *request.param)
    yield made
    made.source.close()


def test_a_simulated_run_starts_fails_and_starts_anew(simulation: Simulation) -> None:
    """Both vendors, four launchers: id, ranks and outcome come from the files alone; attempts differ."""
    simulation.to(10)
    (record,) = simulation.tracker.open
    assert (record.run_id, record.world_size, record.rank0) == ("r1", 4, False)
    assert [(d.device, d.rank) for d in record.devices] == [("0", 2), ("1", 3)]
    simulation.death(20, signal=11)
    simulation.to(21, exits=2)
    (ended,) = simulation.ended
    assert (ended.outcome, ended.detail) == (Outcome.FAILED, "rank 2 (pid 20000): SIGSEGV")
    assert ended.ended_at == pytest.approx(simulation.began + 20, abs=0.01)
    simulation.to(30)
    (again,) = simulation.tracker.open
    assert again.run_id == "r1"
    assert again.attempt not in (record.attempt, "")
    assert again.started - record.started == pytest.approx(25, abs=1.1)
