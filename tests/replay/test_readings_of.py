"""The readings of a replay are those that the real sources give of the same node."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accelwatch.config import Duration
from accelwatch.readings.process import ProcessExit
from accelwatch.readings.snapshot import Snapshot
from accelwatch.simulator import nvml_library, state
from accelwatch.simulator.host_files import HostFiles
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario
from accelwatch.simulator.world import World
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.nvml import Nvml
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.processes import Processes
from accelwatch.sources.rdma import Rdma
from replay import readings_of
from support import FakeClock, SimulatedTools

START = 1_790_000_000.0


def node_at(family: str, now: float, *faults: FaultSpec, launcher: str = "slurm") -> state.Node:
    vendor = "nvidia" if family in ("ampere", "hopper", "blackwell") else "ascend"
    spec = NodeSpec(name="n", vendor=vendor, family=family, devices=4)  # type: ignore[arg-type]
    run = RunSpec(id="77", nodes=("n",), launcher=launcher)  # type: ignore[arg-type]
    return World(Scenario(nodes=(spec,), runs=(run,)), START).node("n", now, faults)


def fault(name: str, at: float, device: int | None, **parameters: Any) -> FaultSpec:
    return FaultSpec(fault=name, node="n", at=Duration(at), device=device, parameters=parameters)


def approximately(snapshot: Snapshot) -> Any:
    """Watts and joules come back from whole milliwatts and millijoules."""
    devices = [
        msgspec.structs.replace(
            device,
            reason=None,
            sensors=device.sensors
            and msgspec.structs.replace(
                device.sensors, power_watts=round(device.sensors.power_watts or 0, 2), energy_joules=None
            ),
        )
        for device in snapshot.devices
    ]
    return devices, [msgspec.structs.replace(event, wall=None) for event in snapshot.events]


@pytest.mark.parametrize("family", ["ampere", "hopper", "blackwell"])
def test_nvml(tmp_path: Path, family: str) -> None:
    """Of a healthy node, between two full readings, and with errors, a degraded bus and a lost GPU."""
    shown, clock, built = nvml_library.StateFile(tmp_path), FakeClock(), readings_of.Nvml()
    healthy, later = node_at(family, 600), node_at(family, 601)
    faulty = node_at(
        family, 603, fault("ecc_uncorrected", 602, 0), fault("thermal", 602, 1), fault("row_remap", 602, 1),
        fault("lost", 602, 2), fault("link_down", 602, 3), fault("pcie_degraded", 602, 3),
    )  # fmt: skip
    shown.write(healthy)
    source = Nvml(library=str(nvml_library.install(tmp_path)), timeout=2.0, interval=1, clock=clock)
    try:
        for node, full in ((healthy, True), (later, False), (faulty, True)):
            shown.write(node)
            clock.now += 1
            real, replayed = source.poll(everything=full), built.poll(node)
            if node is faulty:
                for _ in range(8):  # to the next full reading, and until the event set has told its events
                    real = msgspec.structs.replace(source.poll(everything=True), events=real.events)
                built._polls, built._told = 0, {}
                replayed = built.poll(node)
            assert approximately(replayed)[0] == approximately(real)[0]
    finally:
        source.close()


def test_nvml_events(tmp_path: Path) -> None:
    """What the event set tells after the registration."""
    shown, clock, built = nvml_library.StateFile(tmp_path), FakeClock(), readings_of.Nvml()
    shown.write(node_at("hopper", 600))
    source = Nvml(library=str(nvml_library.install(tmp_path)), timeout=2.0, interval=1, clock=clock)
    try:
        assert source.poll().events == built.poll(node_at("hopper", 600)).events == ()
        faulty = node_at("hopper", 602, fault("ecc_uncorrected", 601, 1, cascade=1))
        shown.write(faulty)
        real: list[Any] = []
        deadline = time.monotonic() + 20  # the event set is told by a process of its own, in its own time
        while len(real) < 5 and time.monotonic() < deadline:
            clock.now += 1
            real += source.poll().events
        replayed = built.poll(faulty)
        assert [msgspec.structs.replace(e, wall=None) for e in real] == approximately(replayed)[1]
        assert [event.code for event in real] == ["48", "63", "94", "45", "154"]
        assert replayed.devices[1].ecc == source.poll().devices[1].ecc, "an event has everything read at once"
        assert built.poll(faulty).events == ()
    finally:
        source.close()


@pytest.mark.parametrize("family", ["310P", "910", "910B", "A3", "950"])
def test_the_tools_of_ascend(family: str) -> None:
    """The replay has the real sources; here that they are asked of the node as it is at each poll."""
    clock = FakeClock()
    keys: list[Any] = []
    sources = readings_of.Ascend(clock, 10.0, lambda: keys)
    first = sources.npu_smi(node_at(family, 600))
    shown = [d.sensors.utilization_ratio for d in first.devices if d.sensors is not None]
    assert shown == [d.utilization_percent / 100 for d in node_at(family, 600).ascend]
    clock.now += 10
    second = sources.npu_smi(node_at(family, 610, fault("lost", 605, 1)))
    assert len(second.devices) == 3
    assert isinstance(sources._tools, SimulatedTools)


@pytest.mark.parametrize("family", ["hopper", "910B", "A3"])
@pytest.mark.parametrize("launcher", ["slurm", "torchrun", "mpi", "mindx"])
def test_processes_and_their_ends(tmp_path: Path, family: str, launcher: str) -> None:
    """As the real source reads the simulated /proc."""
    spec = NodeSpec(name="n", vendor="nvidia" if family == "hopper" else "ascend", family=family, devices=4)
    files = HostFiles(tmp_path, spec, 1)
    clock, told = FakeClock(), list[ProcessExit]()
    source = Processes(proc=tmp_path / "proc", reads=LocalReads(ToolRunner()), clock=clock, exits=told.extend)
    for now, faults in ((600.0, ()), (700.0, (fault("process_death", 650, 1, signal=6),))):
        node = node_at(family, now, *faults, launcher=launcher)
        files.write(node)
        clock.now += 100
        assert readings_of.processes(node).processes == source.poll(everything=True).processes
    (end,) = readings_of.exits(node.ends, 2000.0, node)
    assert (end.pid, end.signal, end.at, end.wall) == (20001, 6, 1950.0, START + 650)


def test_rdma(tmp_path: Path) -> None:
    """As the real source reads the simulated sysfs."""
    spec = NodeSpec(name="n", vendor="nvidia", family="hopper", devices=4)
    files = HostFiles(tmp_path, spec, 1)
    node = node_at("hopper", 600, fault("rdma_down", 590, None, port=2), fault("rdma_errors", 595, None, port=3))
    files.write(node)
    assert readings_of.rdma(node) == Rdma(sysfs=tmp_path / "sys/class/infiniband").poll()
