"""The true state of every node at any moment of a scenario: the same moment gives the same values."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from accelwatch.simulator.faults import KINDS, Context
from accelwatch.simulator.launch import LAUNCHERS, Place, cgroup, environment
from accelwatch.simulator.scenario import DRIVERS, FaultSpec, NodeSpec, Phase, RunSpec, Scenario
from accelwatch.simulator.state import AscendDevice, Device, Link, Node, NvidiaDevice, Process, ProcessEnd, RdmaPort
from accelwatch.simulator.work import done, ended_by, last, load, restarts, share, spans, stretches

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
BOOTED_BEFORE = 86400.0  # seconds that the host was up, its ports too, when the scenario begins
_RDMA_PORTS = 8
_PIDS_APART = 100  # between the processes that a device has one after the other


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
        node = hardware(spec)
        node.now, node.wall = now, self._start + now
        faults = [fault for fault in (*self.scenario.faults, *injected) if fault.node == name and fault.at <= now]
        faults.sort(key=lambda fault: fault.at)
        devices: list[Device] = [*node.nvidia, *node.ascend]
        for device in devices:
            self._work(node, device, spec, faults)
        for port, device in zip(node.rdma, devices, strict=False):
            port.packets = device.links[0].packets if device.links else 0
        for fault in faults:
            strike(node, fault, now)
        return node

    def _work(self, node: Node, device: Device, spec: NodeSpec, faults: Sequence[FaultSpec]) -> None:
        now = node.now
        past = stretches(self.scenario.workload, faults, spec.name, device.index, now)
        present = last(past, self.scenario.workload, faults, spec.name, device.index)
        asked, sums = load(spec.vendor, present.phase), done(spec.vendor, past)
        noise = random.Random(f"{spec.name}/{device.index}/{int(now)}").uniform(-1, 1)
        show(device, spec, present.phase, share(spec.vendor, present), noise)
        for link in (*device.links, *([device.roce] if isinstance(device, AscendDevice) and device.roce else [])):
            link.packets = sums.packets
        if isinstance(device, NvidiaDevice):
            device.energy_millijoules = int(energy_joules(spec, now, sums.power) * 1000)
            device.memory_utilization_percent = float(asked.memory)
        run = self._run(spec)
        if run is None:
            return
        if not node.launchers:
            launcher = Process(run.first_pid - 1, LAUNCHERS[run.launcher], 0, cpu_seconds=1.0, state="S")
            node.launchers = [launcher]
        for number, span in enumerate(spans(past, present)):
            pid = run.first_pid + device.index + _PIDS_APART * number
            if span.end is not None:
                code, killed_by, at = ended_by(faults, spec.name, device.index, span.end)
                node.ends.append(ProcessEnd(pid, code, killed_by, at))
                continue
            process = Process(pid, run.name, (device.memory_used_mib - 1024) << 20, started=span.begin)
            process.parent = run.first_pid - 1
            process.environ = self._environ(run, spec, device.index, restarts(faults, spec.name, now))
            process.cgroup = cgroup(run.launcher, run.id, spec.name, device.index)
            process.cpu_seconds = sums.cpu
            process.read_bytes, process.written_bytes = sums.read, sums.written
            process.state = "R" if asked.cpu >= 0.5 else "S"
            device.processes = [process]

    def _run(self, spec: NodeSpec) -> RunSpec | None:
        if self.scenario.runs is not None:
            return next((run for run in self.scenario.runs if spec.name in run.nodes), None)
        nodes = tuple(node.name for node in self.scenario.nodes if node.vendor == spec.vendor)
        return RunSpec(id="4711" if spec.vendor == "nvidia" else "4712", nodes=nodes)

    def _environ(self, run: RunSpec, spec: NodeSpec, local: int, restarted: int) -> dict[str, str]:
        """What the launcher leaves in a rank's environment."""
        counts = {node.name: node.devices for node in self.scenario.nodes}
        before = run.nodes[: run.nodes.index(spec.name)]
        # `simulate node --node` keeps one node of a run: the others count as large as it is.
        rank = sum(counts.get(name, spec.devices) for name in before) + local
        size = sum(counts.get(name, spec.devices) for name in run.nodes)
        place = Place(rank=run.first_rank + rank, world=run.world or size, local=local, local_world=spec.devices)
        return environment(run.launcher, run.id, place, master=run.nodes[0], restarted=restarted)


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
    over = not active(fault, now)
    age = float(fault.clear_after) if over and fault.clear_after is not None else now - fault.at
    return Context(node, device, fault.parameters, age, float(fault.at), over)


def strike(node: Node, fault: FaultSpec, now: float) -> None:
    """Changes the node's state as the fault does, or leaves what stays of it when it is over. Raises `ValueError`."""
    struck = context(node, fault, now)
    kind = KINDS[fault.fault]
    (kind.leaves if struck.over else kind.change)(struck)


def show(device: Device, spec: NodeSpec, phase: Phase, power: float, noise: float) -> None:
    """What the device's work shows. `power`: share between idle and limit; `noise`: between -1 and 1."""
    _, idle, limit, memory, _ = _figures(spec)
    asked = load(spec.vendor, phase)
    training, busy = phase.phase in ("train", "validate"), phase.phase != "idle"
    device.utilization_percent = (
        float(round(min(100, max(0, asked.utilization + 3 * noise)))) if training else float(asked.utilization)
    )
    device.power_watts = round(min(limit, idle + (limit - idle) * power * (1 + phase.noise * noise)), 1)
    device.temperature_celsius = float(round(34 + 30 * power + noise))
    device.memory_temperature_celsius = float(round(38 + 32 * power + noise))
    device.memory_used_mib = int(memory * 0.86) if busy else int(memory * 0.05)


def energy_joules(spec: NodeSpec, seconds: float, weighted: float) -> float:
    """Of one device in `seconds`, of which `weighted` is the sum with its share of the power."""
    _, idle, limit, _, _ = _figures(spec)
    return seconds * idle + (limit - idle) * weighted


def _figures(spec: NodeSpec) -> tuple[str, int, int, int, int]:
    return (_NVIDIA if spec.vendor == "nvidia" else _ASCEND)[spec.family]


def hardware(spec: NodeSpec) -> Node:
    """The node as it is delivered, idle."""
    driver = spec.driver or DRIVERS[spec.vendor]
    tool = f"12.{driver}" if spec.vendor == "nvidia" else driver
    node = Node(spec.name, spec.vendor, driver, tool, spec.family)
    if spec.vendor == "nvidia":
        node.nvidia = [_gpu(spec, index) for index in range(spec.devices)]
        node.rdma = [RdmaPort(f"mlx5_{number}") for number in range(_RDMA_PORTS)]
    else:
        node.ascend = [_npu(spec, index) for index in range(spec.devices)]
    return node


def _gpu(spec: NodeSpec, index: int) -> NvidiaDevice:
    model, _, limit, memory, links = _NVIDIA[spec.family]
    seed = random.Random(f"{spec.name}/{index}")
    return NvidiaDevice(
        index=index,
        model=spec.model or model,
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
        model=spec.model or model,
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
        roce=Link(0, history=[(-BOOTED_BEFORE, True)]) if ported else None,
    )
