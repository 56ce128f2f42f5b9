"""From the true state of a simulated host to what its other sources give of it: RDMA ports, processes, kernel log.

`tests/replay/test_readings_of.py` holds it against the real sources.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from accelwatch.readings.kernel import KernelRecord, KernelRecords
from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.process import HostProcess, Launcher, ProcessExit
from accelwatch.readings.snapshot import Snapshot
from accelwatch.runs.identity import identify
from accelwatch.simulator import state
from accelwatch.simulator.world import BOOTED_BEFORE
from accelwatch.sources.proc_files import NO_LAUNCHERS
from accelwatch.sources.rdma import ERROR_COUNTERS

_TICKS = os.sysconf("SC_CLK_TCK")
_STATES = {"R": "running", "S": "sleeping", "D": "disk-sleep"}
_HW_COUNTERS = ("out_of_sequence", "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err")
_HOST_COUNTERS = (
    "symbol_error", "port_rcv_errors", "port_xmit_discards", "link_error_recovery", "local_link_integrity_errors",
)  # fmt: skip


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
