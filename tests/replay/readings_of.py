"""From the true state of a simulated node to what the agent's sources give of it, without a file or a process.

NVIDIA's worker, /proc and sysfs cost a process or files at each reading, so their answers are built here; the vendor
tools of Ascend cost nothing, so the real sources read them. `test_readings_of` holds all of it against real sources.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.health import DeviceState, Health
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.kernel import KernelRecord, KernelRecords
from accelwatch.readings.link import Fabric, Link, LinkKind, LinkState, Pcie
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.process import DeviceProcess, HostProcess, Launcher, ProcessExit
from accelwatch.readings.sensors import Clock as DeviceClock
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.runs.identity import identify
from accelwatch.simulator import state
from accelwatch.simulator.world import _SETTLED_BEFORE as BOOTED_BEFORE
from accelwatch.sources.base import AscendDevice
from accelwatch.sources.hccn_tool import HccnTool
from accelwatch.sources.npu_smi import NpuSmi
from accelwatch.sources.proc_files import _NO_LAUNCHERS as NO_LAUNCHERS
from accelwatch.sources.rdma import ERROR_COUNTERS
from support import SimulatedTools

_TICKS = os.sysconf("SC_CLK_TCK")
_STATES = {"R": "running", "S": "sleeping", "D": "disk-sleep"}
_THROTTLES = {0x08: Throttle.HW_SLOWDOWN, 0x40: Throttle.HW_THERMAL, 0x80: Throttle.POWER_BRAKE}
_LOST, _RESET_REQUIRED = 15, 16
_FULL_PERIOD = 10
_HW_COUNTERS = ("out_of_sequence", "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err")
_HOST_COUNTERS = (
    "symbol_error", "port_rcv_errors", "port_xmit_discards", "link_error_recovery", "local_link_integrity_errors",
)  # fmt: skip


class Nvml:
    """Polls of `sources.nvml`: power, utilization and throttling each time, the rest with every tenth.

    GPUs that answer, that are lost (15), need a reset (16) or are gone from the list; no blocking calls.
    """

    def __init__(self) -> None:
        self._polls = 0
        self._last: dict[DeviceKey, Device] = {}
        self._told: dict[DeviceKey, int] = {}

    def poll(self, node: state.Node) -> Snapshot:
        """What the next poll gives."""
        full = self._polls % _FULL_PERIOD == 0
        self._polls += 1
        devices = [self._device(node, gpu, full) for gpu in node.nvidia if gpu.present]
        self._last = {device.key: device for device in devices}
        return Snapshot(devices=tuple(devices), events=tuple(self._events(node)))

    def _device(self, node: state.Node, gpu: state.NvidiaDevice, full: bool) -> Device:
        key = DeviceKey(Vendor.NVIDIA, gpu.pci)
        last = self._last.get(key)
        if gpu.status in (_LOST, _RESET_REQUIRED):
            condition = DeviceState.LOST if gpu.status == _LOST else DeviceState.RESET_REQUIRED
            return Device(identity=_gpu_identity(node, gpu) if last is None else last.identity, state=condition)
        # An Xid or a GPU that is back has everything read at once.
        news = len(gpu.xid_events) > self._told.get(key, len(gpu.xid_events))
        if last is None or last.sensors is None or full or news:
            return _gpu(node, gpu, last)
        sensors = msgspec.structs.replace(
            last.sensors,
            power_watts=gpu.power_watts,
            energy_joules=gpu.energy_millijoules / 1000,
            utilization_ratio=None if gpu.utilization_percent is None else int(gpu.utilization_percent) / 100,
            throttle=_throttle(gpu),
        )
        return msgspec.structs.replace(last, sensors=sensors)

    def _events(self, node: state.Node) -> list[LogEvent]:
        """Xids since the poll before: a set tells only what comes after it was made."""
        events = []
        for gpu in node.nvidia:
            key = DeviceKey(Vendor.NVIDIA, gpu.pci)
            new = gpu.xid_events[self._told.get(key, len(gpu.xid_events)) :]
            self._told[key] = len(gpu.xid_events)
            events += (
                LogEvent(
                    kind="xid", vendor="nvidia", code=str(number), pci=gpu.pci.partition(".")[0], wall=node.wall,
                    text="NVML event",
                )
                for number in new
            )  # fmt: skip
        return events


def _gpu_identity(node: state.Node, gpu: state.NvidiaDevice) -> Identity:
    return Identity(
        key=DeviceKey(Vendor.NVIDIA, gpu.pci), model=gpu.model, uuid=gpu.uuid, serial=gpu.serial, pci=gpu.pci,
        driver=node.driver, firmware=gpu.firmware, library=node.tool, index=gpu.index,
    )  # fmt: skip


def _gpu(node: state.Node, gpu: state.NvidiaDevice, last: Device | None) -> Device:
    """A full reading. The identity is read once, and stays the same object while the worker lives."""
    identity = _gpu_identity(node, gpu) if last is None or last.sensors is None else last.identity
    return Device(
        identity=identity,
        sensors=Sensors(
            power_watts=gpu.power_watts,
            power_limit_watts=gpu.power_limit_watts,
            energy_joules=gpu.energy_millijoules / 1000,
            temperature_celsius=gpu.temperature_celsius,
            memory_temperature_celsius=gpu.memory_temperature_celsius,
            utilization_ratio=None if gpu.utilization_percent is None else int(gpu.utilization_percent) / 100,
            memory_used_bytes=gpu.memory_used_mib << 20,
            memory_total_bytes=gpu.memory_total_mib << 20,
            clocks=tuple(DeviceClock(domain, megahertz * 1e6) for domain, megahertz in gpu.clocks_mhz.items()),
            throttle=_throttle(gpu),
        ),
        health=Health(recovery_action=gpu.recovery_action),
        ecc=tuple(
            EccCount(memory=memory, kind=kind, count=counts.get(f"{memory}_{kind.value}", 0), lifetime=lifetime)
            for counts, lifetime in ((gpu.ecc_volatile, False), (gpu.ecc_aggregate, True))
            for kind in (ErrorKind.CORRECTED, ErrorKind.UNCORRECTED)
            for memory in ("hbm", "sram")
        ),
        repairs=Repairs(
            rows_corrected=gpu.rows_corrected, rows_uncorrected=gpu.rows_uncorrected, pending=gpu.rows_pending,
            failed=gpu.rows_failed, banks_without_spare=int(gpu.rows_failed),
            sram_threshold_exceeded=gpu.sram_threshold_exceeded,
        ),
        pcie=Pcie(
            generation=gpu.pcie_generation, generation_max=gpu.pcie_generation_max, width=gpu.pcie_width,
            width_max=gpu.pcie_width_max, replays=gpu.pcie_replays,
        ),
        fabric=Fabric(state="completed", status=0, healthy=True),
        links=tuple(_nvlink(node, identity.key, link) for link in gpu.links),
        processes=tuple(_holder(process) for process in gpu.processes),
    )  # fmt: skip


def _throttle(gpu: state.NvidiaDevice) -> tuple[Throttle, ...]:
    return tuple(word for bit, word in _THROTTLES.items() if gpu.throttle_bits & bit)


def _nvlink(node: state.Node, key: DeviceKey, link: state.Link) -> Link:
    names = (
        ("buffer_overrun", "rx_errors", "local_integrity", "recovery_failed", "effective_errors", "symbol_errors")
        if node.family == "blackwell"
        else ("replay", "recovery", "crc_flit", "crc_data")
    )
    return Link(
        key=key,
        link=f"nvlink{link.number}",
        kind=LinkKind.NVLINK,
        state=LinkState.UP if link.up else LinkState.DOWN,
        errors={name: link.errors.get(name, 0) for name in names} if link.up else None,
    )


def _holder(process: state.Process) -> DeviceProcess:
    return DeviceProcess(pid=process.pid, name=process.name, memory_bytes=process.memory_bytes)


class Ascend:
    """Polls of the real `sources.npu_smi` and `sources.hccn_tool` on simulated tools."""

    def __init__(
        self, home: Path, clock: Clock, interval: float, devices: Callable[[], Sequence[AscendDevice]]
    ) -> None:
        """`home`: a directory for two files that stand for the tools; `devices`: those that hccn_tool is asked about."""
        home.mkdir(parents=True, exist_ok=True)
        for name in ("npu-smi", "hccn_tool"):
            (home / name).write_text("#!/bin/sh\n")
            (home / name).chmod(0o755)
        self._tools = SimulatedTools(state.Node("none", "ascend", "", "", "910B"))
        common = {"timeout": 10.0, "interval": interval, "runner": self._tools, "clock": clock}
        self._npu_smi = NpuSmi(command=str(home / "npu-smi"), **common)  # type: ignore[arg-type]
        self._hccn_tool = HccnTool(command=str(home / "hccn_tool"), devices=devices, **common)  # type: ignore[arg-type]

    def npu_smi(self, node: state.Node) -> Snapshot:
        """What the next poll of npu-smi gives. Raises `SourceError`."""
        self._tools.node = node
        return self._npu_smi.poll()

    def hccn_tool(self, node: state.Node) -> Snapshot:
        """What the next poll of hccn_tool gives. Raises `SourceError`."""
        self._tools.node = node
        return self._hccn_tool.poll()


def rdma(node: state.Node) -> Snapshot:
    """A poll of `sources.rdma`."""
    return Snapshot(links=tuple(_port(port) for port in sorted(node.rdma, key=lambda port: port.name)))


def _port(port: state.RdmaPort) -> Link:
    errors = {name: port.errors.get(name, 0) for name in ERROR_COUNTERS if name in _HOST_COUNTERS}
    errors |= {name: port.errors.get(name, 0) for name in _HW_COUNTERS}
    return Link(
        key=None,
        link=f"{port.name}/1",
        kind=LinkKind.ROCE if port.link_layer == "Ethernet" else LinkKind.IB,
        state=LinkState.UP if port.up else LinkState.DOWN,
        speed_bits_per_second=float(port.rate.split()[0]) * 1e9,
        verdict="LinkUp" if port.up else "Disabled",
        drops=port.link_downed,
        errors=errors,
        packets=2 * port.packets,
    )


def processes(node: state.Node) -> Snapshot:
    """A poll of `sources.processes`: the holders of devices with their launcher and run."""
    launchers = {process.pid: process for process in node.launchers}
    holders = []
    for device in (*node.nvidia, *node.ascend):
        name = f"nvidia{device.index}" if isinstance(device, state.NvidiaDevice) else f"davinci{_phy_id(device)}"
        holders += [_host_process(node, process, name, launchers) for process in device.processes]
    return Snapshot(processes=tuple(sorted(holders, key=lambda process: process.pid)))


def _phy_id(device: state.Device) -> int:
    return device.phy_id if isinstance(device, state.AscendDevice) else device.index


def _host_process(
    node: state.Node, process: state.Process, device: str, launchers: dict[int, state.Process]
) -> HostProcess:
    ticks = int((BOOTED_BEFORE + process.started) * _TICKS)
    launcher = Launcher(pid=process.pid, name=process.name[:15], group=process.pid, instance=ticks)
    parent = launchers.get(process.parent)
    if parent is not None and parent.name not in NO_LAUNCHERS:
        began = int((BOOTED_BEFORE + parent.started) * _TICKS)
        launcher = Launcher(pid=parent.pid, name=parent.name, group=parent.pid, instance=began)
    container = process.cgroup.rpartition("-")[2].removesuffix(".scope")
    return HostProcess(
        pid=process.pid,
        name=process.name,
        started=int(node.wall - node.now - BOOTED_BEFORE) + ticks / _TICKS,
        state=_STATES[process.state],
        cpu_seconds=int(process.cpu_seconds * _TICKS) / _TICKS,
        read_bytes=process.read_bytes,
        written_bytes=process.written_bytes,
        devices=(device,),
        instance=ticks,
        parent=process.parent,
        group=process.pid,
        session=process.pid,
        launcher=launcher,
        container=container if len(container) == 64 else None,
        run=identify(process.environ),
    )


def exits(ends: Sequence[state.ProcessEnd], monotonic: float, node: state.Node) -> list[ProcessExit]:
    """Ends of processes as the kernel tells them. `monotonic`: the host's clock at the node's moment."""
    return [
        ProcessExit(
            pid=end.pid,
            code=end.code,
            signal=end.signal,
            at=monotonic - (node.now - end.at),
            wall=node.wall - (node.now - end.at),
        )
        for end in ends
    ]


def kernel_records(lines: Sequence[str], node: state.Node, sequence: int, boot_id: str) -> KernelRecords:
    """Lines of the kernel log as /dev/kmsg gives them to a reader that is there when they are written."""
    seconds = node.now + BOOTED_BEFORE
    records = tuple(KernelRecord(sequence + number, seconds, 4, line) for number, line in enumerate(lines))
    return KernelRecords(boot_id=boot_id, records=records, last_sequence=sequence + len(lines) - 1)
