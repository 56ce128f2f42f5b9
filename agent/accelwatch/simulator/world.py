"""The true state of every node at any moment of a scenario: the same moment gives the same values."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from accelwatch.simulator.faults import KINDS, Context
from accelwatch.simulator.scenario import DRIVERS, FaultSpec, NodeSpec, RunSpec, Scenario
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
_SETTLED_BEFORE = 86400.0  # ports came up a day before the scenario begins
_RDMA_PORTS = 8
# The process that starts the ranks of a node, as it stands in /proc, and where its control groups are.
_LAUNCHERS = {"slurm": "slurmstepd", "torchrun": "torchrun", "mpi": "prted", "mindx": "torchrun"}
_CGROUPS = {
    "slurm": "/system.slice/slurmstepd.scope/job_{id}/step_0/user/task_{local}",
    "mindx": "/kubepods.slice/kubepods-burstable.slice/cri-containerd-{container}.scope",
}
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
        node = _hardware(spec)
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
        _, idle, limit, memory, _ = (_NVIDIA if spec.vendor == "nvidia" else _ASCEND)[spec.family]
        asked, sums = load(spec.vendor, present.phase), done(spec.vendor, past)
        power = share(spec.vendor, present)
        noise = random.Random(f"{spec.name}/{device.index}/{int(now)}").uniform(-1, 1)
        training, busy = present.phase.phase in ("train", "validate"), present.phase.phase != "idle"
        device.utilization_percent = (
            float(round(min(100, max(0, asked.utilization + 3 * noise)))) if training else float(asked.utilization)
        )
        device.power_watts = round(min(limit, idle + (limit - idle) * power * (1 + present.phase.noise * noise)), 1)
        device.temperature_celsius = float(round(34 + 30 * power + noise))
        device.memory_temperature_celsius = float(round(38 + 32 * power + noise))
        device.memory_used_mib = int(memory * 0.86) if busy else int(memory * 0.05)
        for link in (*device.links, *([device.roce] if isinstance(device, AscendDevice) and device.roce else [])):
            link.packets = sums.packets
        if isinstance(device, NvidiaDevice):
            device.energy_millijoules = int((now * idle + (limit - idle) * sums.power) * 1000)
            device.memory_utilization_percent = float(asked.memory)
        run = self._run(spec)
        if run is None:
            return
        if not node.launchers:
            launcher = Process(run.first_pid - 1, _LAUNCHERS[run.launcher], 0, cpu_seconds=1.0, state="S")
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
            container = random.Random(f"{run.id}/{spec.name}").getrandbits(256)
            process.cgroup = _CGROUPS.get(run.launcher, "/user.slice").format(
                id=run.id, local=device.index, container=f"{container:064x}"
            )
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
        torch = {
            "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(local),
            "LOCAL_WORLD_SIZE": str(spec.devices), "MASTER_ADDR": run.nodes[0],
        }  # fmt: skip
        if run.launcher == "slurm":
            slurm = {
                "SLURM_JOB_ID": run.id, "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(local),
                "SLURM_NTASKS": str(size), "SLURM_JOB_PARTITION": "train", **torch,
            }  # fmt: skip
            return {**slurm, "SLURM_RESTART_COUNT": str(restarted)} if restarted else slurm
        if run.launcher == "torchrun":
            return {"TORCHELASTIC_RUN_ID": run.id, "TORCHELASTIC_RESTART_COUNT": str(restarted), **torch}
        if run.launcher == "mindx":
            return {"MINDX_TASK_ID": run.id, "RANK_ID": str(rank), "RANK_SIZE": str(size), "DEVICE_ID": str(local)}
        return {
            "PMIX_NAMESPACE": run.id, "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": str(size),
            "OMPI_COMM_WORLD_LOCAL_RANK": str(local),
        }  # fmt: skip


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


def _hardware(spec: NodeSpec) -> Node:
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
        roce=Link(0, history=[(-_SETTLED_BEFORE, True)]) if ported else None,
    )
