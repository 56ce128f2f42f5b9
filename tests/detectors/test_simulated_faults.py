"""Every fault that a simulated node can show: through the real sources and readers to the episode that it opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from accelwatch.clock import SteadyClock
from accelwatch.config import Duration
from accelwatch.core import Core
from accelwatch.journal.loaded import Loaded
from accelwatch.readings.kernel import KernelRecord, KernelRecords
from accelwatch.simulator import nvml_library
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Phase, Scenario
from accelwatch.simulator.world import World, context
from accelwatch.sources.base import Source, SourceError, SourceTimeout
from accelwatch.sources.hccn_tool import HccnTool
from accelwatch.sources.npu_smi import NpuSmi
from accelwatch.sources.nvml import Nvml
from accelwatch.sources.rdma import Rdma
from accelwatch.taxonomy.loader import load
from support import FakeClock, SimulatedTools

Expected = set[tuple[str, str | None, str | None]]


class Bench:
    """A node in training, its sources and the core, a second at a time by a clock that never waits."""

    def __init__(self, home: Path, family: str, fault: str, device: int | None, parameters: Mapping[str, Any]) -> None:
        vendor = "nvidia" if family in ("ampere", "hopper", "blackwell") else "ascend"
        spec = NodeSpec(name="n", vendor=vendor, family=family, devices=2)
        self.world = World(Scenario(nodes=(spec,), workload=(Phase(phase="train"),)), 1_790_000_000.0)
        self.clock = FakeClock()
        self.core = Core(
            SteadyClock(self.clock, "boot"),
            Loaded(cursors={"kernel_log": "boot 1"}),
            load(),
            node_name="n",
            boot_id="boot",
        )
        self.home, self.fault, self.device, self.parameters = home, fault, device, parameters
        self.sources: dict[str, tuple[Source, int]] = {}
        node = self.world.node("n", self.clock.now)
        if vendor == "nvidia":
            self.state = nvml_library.StateFile(home)
            self.state.write(node)
            library = str(nvml_library.install(home))
            nvml = Nvml(library=library, timeout=0.4, interval=1, clock=self.clock)
            self.sources = {"nvml": (nvml, 1), "rdma": (Rdma(sysfs=home / "infiniband"), 5)}
        else:
            self.tools = SimulatedTools(node)
            self.tool = home / "tool"
            self.tool.write_text("#!/bin/sh\n")
            self.tool.chmod(0o755)
            common: dict[str, Any] = {"timeout": 10, "interval": 10, "runner": self.tools, "clock": self.clock}
            npu_smi = NpuSmi(command=str(self.tool), **common)
            hccn = HccnTool(
                command=str(self.tool.with_name("hccn_tool")), devices=self.core.node.ascend_devices, **common
            )
            self.tool.with_name("hccn_tool").write_text("#!/bin/sh\n")
            self.tool.with_name("hccn_tool").chmod(0o755)
            self.sources = {"npu_smi": (npu_smi, 10), "hccn_tool": (hccn, 10)}
        self.vendor = vendor

    def run(self, seconds: int, begun: float | None = None, over: float | None = None) -> None:
        """`begun`, `over`: when the fault begins and ends."""
        for _ in range(seconds):
            self.clock.now += 1
            faults = []
            if begun is not None:
                after = None if over is None else Duration(over - begun)
                faults = [
                    FaultSpec(
                        fault=self.fault, node="n", at=Duration(begun), device=self.device,
                        parameters=dict(self.parameters), clear_after=after,
                    )
                ]  # fmt: skip
            node = self.world.node("n", self.clock.now, faults)
            if self.vendor == "nvidia":
                self.state.write(node)
                self._rdma(node)
            else:
                self.tools.node = node
            if begun == self.clock.now:
                self._log(KINDS[self.fault].lines(context(node, faults[0], begun)))
            for name, (source, every) in self.sources.items():
                if self.clock.now % every == 0:
                    self._poll(name, source, every)
            self.core.tick()

    def found(self) -> Expected:
        return {(e.class_, e.device, e.code) for e in self.core.ledger.recent(0.0)}

    def close(self) -> None:
        for source, _ in self.sources.values():
            source.close()

    def _poll(self, name: str, source: Source, every: int) -> None:
        try:
            self.core.answered(name, source.poll(), every)
        except SourceError as error:
            self.core.silent(name, str(error), timed_out=isinstance(error, SourceTimeout))

    def _log(self, lines: list[str]) -> None:
        for number, line in enumerate(lines):
            record = KernelRecord(100 + number, self.clock.now, 4, line)
            self.core.kernel_records(KernelRecords(boot_id="boot", records=(record,), last_sequence=100 + number))

    def _rdma(self, node: Any) -> None:
        for port in node.rdma:
            folder = self.home / "infiniband" / port.name / "ports" / "1"
            (folder / "counters").mkdir(parents=True, exist_ok=True)
            (folder / "state").write_text("4: ACTIVE\n" if port.up else "1: DOWN\n")
            (folder / "link_layer").write_text(port.link_layer + "\n")
            for name, count in {"link_downed": port.link_downed, **port.errors}.items():
                (folder / "counters" / name).write_text(f"{count}\n")


NVIDIA: list[tuple[str, dict[str, Any], Expected]] = [
    ("lost", {}, {("device_lost", "0", "79")}),
    ("vanish", {}, {("device_lost", "0", None)}),
    ("reset_required", {}, {("driver_software", "0", None)}),
    ("unknown_999", {}, {("device_lost", "0", None)}),
    ("blocked", {}, {("driver_software", "0", None)}),
    ("gsp_timeout", {}, {("control_processor", "0", "119"), ("driver_software", "0", None)}),
    ("ecc_corrected", {}, {("mem_correctable", "0", None)}),
    ("ecc_uncorrected", {}, {("mem_uncorrectable", "0", "48")}),
    (
        "ecc_uncorrected",
        {"cascade": 1},
        {
            ("mem_uncorrectable", "0", "48"),
            ("mem_repair", "0", "63"),
            ("app_device_exception", "0", "45"),
            ("driver_software", "0", "154"),
        },
    ),
    ("link_down", {}, {("intra_node_link", "0", None)}),
    # NVLinks count no drops and are read every ten seconds: what is shorter can go unseen.
    ("link_flap", {"period": 12, "down": 11}, {("intra_node_link", "0", None)}),
    ("link_errors", {}, {("intra_node_link", "0", None)}),
    ("thermal", {}, {("thermal", "0", None)}),
    ("power_brake", {}, {("power", "0", None)}),
    ("row_remap", {}, {("mem_repair", "0", "63")}),
    ("row_remap_failed", {}, {("mem_uncorrectable", "0", "64"), ("mem_repair", "0", None)}),
    ("sram_threshold", {}, {("onchip_sram", "0", None)}),
    ("pcie_degraded", {}, {("pcie_host_link", "0", None)}),
    ("pcie_degraded", {"width": 16, "generation": 3, "replays": 0}, {("pcie_host_link", "0", None)}),
    ("recovery_action", {}, {("driver_software", "0", None)}),
    ("fabric", {}, {("fabric_switch", "0", None)}),
    ("xid", {"xid": 74}, {("intra_node_link", "0", "74")}),
    ("xid", {"xid": 31, "times": 10}, {("app_device_exception", "0", "31")}),
    ("aer", {"severity": "Uncorrected (Fatal)"}, {("pcie_host_link", "0", None)}),
    ("hung_task", {}, {("driver_software", None, None)}),
    ("sxid", {}, {("fabric_switch", None, "20034")}),
    ("rdma_down", {"port": 1}, {("net_link_down", None, None)}),
    ("rdma_silent_down", {"port": 1}, {("net_link_down", None, None)}),
    ("rdma_flap", {"port": 1}, {("net_link_flap", None, None)}),
    ("rdma_errors", {"port": 1}, {("net_errors", None, None)}),
    # Older drivers lack calls and fields, devices lack sensors: no fault.
    ("call_result", {}, set()),
    ("field_result", {}, set()),
    ("process_death", {}, set()),
]
ASCEND: list[tuple[str, dict[str, Any], Expected]] = [
    ("lost", {}, {("device_lost", "0", "40F84E00")}),
    ("vanish", {}, {("device_lost", "0", None)}),
    ("ecc_corrected", {}, {("mem_correctable", "0", None)}),
    ("ecc_uncorrected", {}, {("mem_uncorrectable", "0", "80E01801")}),
    ("link_down", {}, {("intra_node_link", "0", None)}),
    # HCCS counts no drops and is read once a minute: what is shorter can go unseen.
    ("link_flap", {"period": 130, "down": 70}, {("intra_node_link", "0", None)}),
    ("link_errors", {}, {("intra_node_link", "0", None)}),
    ("hccs_unhealthy", {}, {("intra_node_link", "0", None)}),
    ("thermal", {}, {("thermal", "0", "80E00209")}),
    ("error_code", {}, {("onchip_sram", "0", "80C98008")}),
    ("error_code", {"code": "80E18402,80E00209"}, {("mem_repair", "0", "80E18402"), ("thermal", "0", "80E00209")}),
    # The pages are isolated because of errors, which are counted as well.
    ("isolated_pages", {}, {("mem_repair", "0", None), ("mem_uncorrectable", "0", None)}),
    ("isolated_pages", {"pages": 64}, {("mem_repair", "0", "80E18402"), ("mem_uncorrectable", "0", None)}),
    ("roce_down", {}, {("net_link_down", "0", "81078603")}),
    ("roce_flap", {"times": 4}, {("net_link_flap", "0", None)}),
    ("roce_errors", {}, {("net_errors", "0", None)}),
    ("net_health", {}, {("net_errors", "0", None)}),
    # A chip whose first line is left out is found by its neighbours: nothing is known to be wrong with it.
    ("health_out_of_range", {}, set()),
]
HOST_FAULTS = frozenset(("sxid", "rdma_down", "rdma_silent_down", "rdma_flap", "rdma_errors"))


def named(value: object) -> str:
    """The same in every process: a set has no order."""
    return str(sorted(map(str, value)) if isinstance(value, set) else value)[:40]


@pytest.mark.parametrize(("fault", "parameters", "expected"), NVIDIA, ids=named)
def test_nvidia(tmp_path: Path, fault: str, parameters: dict[str, Any], expected: Expected) -> None:
    bench = Bench(tmp_path, "hopper", fault, None if fault in HOST_FAULTS else 0, parameters)
    lasts = 42 if "generation" in parameters else 15  # under load for half a minute
    _strike(bench, expected, lasts, 12)


@pytest.mark.parametrize(("fault", "parameters", "expected"), ASCEND, ids=named)
def test_ascend(tmp_path: Path, fault: str, parameters: dict[str, Any], expected: Expected) -> None:
    _strike(Bench(tmp_path, "910B", fault, 0, parameters), expected, 150, 150)


def test_pages_retired_before_ampere(tmp_path: Path) -> None:
    _strike(Bench(tmp_path, "ampere", "retired_pages", 0, {}), {("mem_repair", "0", None)}, 15, 0)


@pytest.mark.parametrize("parameters", [{}, {"present": 0}])
def test_optics(tmp_path: Path, parameters: dict[str, Any]) -> None:
    """Read with every sixtieth poll."""
    _strike(Bench(tmp_path, "910B", "optics", 0, parameters), {("net_errors", "0", None)}, 1300, 0)


def _strike(bench: Bench, expected: Expected, lasts: int, after: int) -> None:
    """Nothing before, what is expected and nothing else while it lasts and when it is over."""
    try:
        bench.run(12)
        assert bench.found() == set()
        begun = bench.clock.now + 1
        bench.run(lasts, begun)
        assert bench.found() == expected
        bench.run(after, begun, begun + lasts)
        assert bench.found() == expected
    finally:
        bench.close()
