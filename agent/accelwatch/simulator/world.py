"""The true state of every node at any moment of a scenario: the same moment gives the same values."""

from __future__ import annotations

import random
from collections.abc import Iterable

from accelwatch.simulator.faults import KINDS, Context
from accelwatch.simulator.scenario import DRIVERS, FaultSpec, NodeSpec, Phase, Scenario
from accelwatch.simulator.state import AscendDevice, Device, Link, Node, NvidiaDevice, Process

# idle and limit in watts, memory in MiB, NVLinks or HCCS links: orders of size from data sheets and the captures
# (reference/reliability.md section 4.2 for the H100).
_NVIDIA = {
    "ampere": ("NVIDIA A100-SXM4-80GB", 62, 400, 81920, 12),
    "hopper": ("NVIDIA H100 80GB HBM3", 72, 700, 81559, 18),
    "blackwell": ("NVIDIA B200", 140, 1000, 183359, 18),
}
_ASCEND = {
    "310": ("310", 9, 20, 8192, 0), "310B": ("310B4", 9, 20, 15609, 0), "310P": ("310P3", 16, 72, 21527, 0),
    "910": ("910A", 66, 310, 32768, 0), "910B": ("910B2C", 90, 400, 65536, 7), "A3": ("Ascend910", 90, 350, 65536, 7),
    "950": ("Ascend950DT", 290, 600, 98304, 0),
}  # fmt: skip
# Utilization in percent and share of the power between idle and limit, by phase and vendor: a hang spins on NVIDIA and
# is quiet on Ascend.
_PHASES = {
    "idle": {"nvidia": (0, 0.0), "ascend": (0, 0.0)},
    "train": {"nvidia": (96, 0.78), "ascend": (92, 0.75)},
    "save": {"nvidia": (2, 0.12), "ascend": (1, 0.1)},
    "hang": {"nvidia": (100, 0.13), "ascend": (0, 0.05)},
}
_SETTLED_BEFORE = 86400.0  # ports came up a day before the scenario begins


class World:
    """A scenario with the faults that were injected later."""

    def __init__(self, scenario: Scenario, start: float) -> None:
        """`start`: wall time, in seconds since the epoch, of the scenario's second 0."""
        self.scenario = scenario
        self._start = start

    def node(self, name: str, now: float, injected: Iterable[FaultSpec] = ()) -> Node:
        """The node `name` at scenario second `now`. Raises `KeyError`, `ValueError` for a fault that does not fit."""
        spec = next((spec for spec in self.scenario.nodes if spec.name == name), None)
        if spec is None:
            raise KeyError(name)
        node = _hardware(spec)
        node.now, node.wall = now, self._start + now
        phase = _phase(self.scenario.workload, now)
        for device in (*node.nvidia, *node.ascend):
            _work(device, spec, phase, now)
        for fault in (*self.scenario.faults, *injected):
            if fault.node == name and active(fault, now):
                strike(node, fault, now)
        return node


def active(fault: FaultSpec, now: float) -> bool:
    """Whether the fault has begun and not ended."""
    return fault.at <= now and (fault.clear_after is None or now < fault.at + fault.clear_after)


def context(node: Node, fault: FaultSpec, now: float) -> Context:
    """The fault on its node. Raises `ValueError` where there is no such fault or device."""
    if fault.fault not in KINDS:
        raise ValueError(f"no fault {fault.fault!r}; see `accelwatch simulate faults`")
    devices: list[Device] = [*node.nvidia, *node.ascend]
    if fault.device is not None and not 0 <= fault.device < len(devices):
        raise ValueError(f"node {node.name} has devices 0 to {len(devices) - 1}, not {fault.device}")
    device = None if fault.device is None else devices[fault.device]
    return Context(node, device, fault.parameters, now - fault.at, fault.at)


def strike(node: Node, fault: FaultSpec, now: float) -> None:
    """Changes the node's state as the fault does. Raises `ValueError`."""
    struck = context(node, fault, now)
    KINDS[fault.fault].change(struck)


def _phase(workload: Iterable[Phase], now: float) -> str:
    begun = [phase for phase in workload if phase.at <= now]
    return max(begun, key=lambda phase: phase.at).phase if begun else "idle"


def _hardware(spec: NodeSpec) -> Node:
    driver = spec.driver or DRIVERS[spec.vendor]
    tool = f"12.{driver}" if spec.vendor == "nvidia" else driver
    node = Node(spec.name, spec.vendor, driver, tool, spec.family)
    if spec.vendor == "nvidia":
        node.nvidia = [_gpu(spec, index) for index in range(spec.devices)]
    else:
        node.ascend = [_npu(spec, index) for index in range(spec.devices)]
    return node


def _gpu(spec: NodeSpec, index: int) -> NvidiaDevice:
    model, _, limit, memory, links = _NVIDIA[spec.family]
    seed = random.Random(f"{spec.name}/{index}")
    return NvidiaDevice(
        index=index,
        model=model,
        pci=f"0000:{0x18 + 0x11 * index % 0xE0:02x}:00.0",
        serial=f"16{seed.randrange(10**11):011d}",
        firmware="96.00.A5.00.01",
        uuid=f"GPU-{seed.randrange(16**8):08x}-{seed.randrange(16**4):04x}-4{seed.randrange(16**3):03x}-a{seed.randrange(16**3):03x}-{seed.randrange(16**12):012x}",
        power_limit_watts=float(limit),
        memory_total_mib=memory,
        links=[Link(number) for number in range(links)],
        pcie_generation=4 if spec.family == "ampere" else 5,
        pcie_generation_max=4 if spec.family == "ampere" else 5,
    )


def _npu(spec: NodeSpec, index: int) -> AscendDevice:
    model, _, _, memory, links = _ASCEND[spec.family]
    dies = 2 if spec.family == "A3" else 1
    seed = random.Random(f"{spec.name}/{index}")
    ported = spec.family in ("910", "910B", "A3", "950")
    return AscendDevice(
        index=index,
        model=model,
        pci=f"0000:{0x19 + 0xD * index % 0xE0:02x}:00.0",
        serial=f"1023{seed.randrange(10**8):08d}",
        firmware="7.5.0.1.129",
        npu_id=index // dies,
        chip_id=index % dies,
        phy_id=index,
        memory_total_mib=memory,
        ddr_total_mib=15665 if spec.family == "910" else 0,
        ddr_used_mib=1809 if spec.family == "910" else 0,
        links=[Link(number, errors={"retry": 0, "error": 0}) for number in range(links)],
        roce=Link(0, history=[(-_SETTLED_BEFORE, True)]) if ported else None,
    )


def _work(device: Device, spec: NodeSpec, phase: str, now: float) -> None:
    _, idle, limit, memory, _ = (_NVIDIA if spec.vendor == "nvidia" else _ASCEND)[spec.family]
    utilization, share = _PHASES[phase][spec.vendor]
    noise = random.Random(f"{spec.name}/{device.index}/{int(now)}").uniform(-1, 1)
    busy = phase != "idle"
    device.utilization_percent = (
        float(round(min(100, max(0, utilization + 3 * noise)))) if phase == "train" else float(utilization)
    )
    device.power_watts = round(idle + (limit - idle) * share * (1 + 0.04 * noise), 1)
    device.temperature_celsius = float(round(34 + 30 * share + noise))
    device.memory_temperature_celsius = float(round(38 + 32 * share + noise))
    device.memory_used_mib = int(memory * 0.86) if busy else int(memory * 0.05)
    traffic = int(now * 90_000) if phase == "train" else 0
    for link in (*device.links, *([device.roce] if isinstance(device, AscendDevice) and device.roce else [])):
        link.packets = traffic
    if isinstance(device, NvidiaDevice):
        device.energy_millijoules = int(now * (idle + (limit - idle) * share) * 1000)
    if busy:
        environ = {"SLURM_JOB_ID": "4711", "RANK": str(device.index), "WORLD_SIZE": str(spec.devices)}
        device.processes = [Process(20_000 + device.index, "python3", (device.memory_used_mib - 1024) << 20, environ)]
