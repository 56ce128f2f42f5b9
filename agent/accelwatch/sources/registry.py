"""Every source, by name: a new one is a file beside this and a line below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from accelwatch.clock import Clock
from accelwatch.config import Common, Sources
from accelwatch.readings.kernel import KernelRecords
from accelwatch.readings.process import ProcessExit
from accelwatch.sources.base import AscendDevice, Source
from accelwatch.sources.commands import Runner
from accelwatch.sources.privileged import HccnRunner, PrivilegedReads


class Surroundings(msgspec.Struct, frozen=True):
    """What sources are given: clock, tools, privileged reads, the two ends they are tied to, and where they stood."""

    clock: Clock
    runner: Runner
    reads: PrivilegedReads
    ascend_devices: Callable[[], Sequence[AscendDevice]]
    kernel_records: Callable[[KernelRecords], None]
    exits: Callable[[tuple[ProcessExit, ...]], None] | None = None  # `None`: nobody asks how processes end
    cursors: Mapping[str, str] = {}  # source: where it stood, as `KernelRecords` and `Snapshot.cursor` told


Build = Callable[[Sources, Surroundings], Source]


def _nvml(config: Sources, around: Surroundings) -> Source:
    from accelwatch.sources.nvml import Nvml  # only what a host has is imported

    own = config.nvml
    return Nvml(library=own.library, timeout=own.timeout, interval=own.interval, clock=around.clock)


def _npu_smi(config: Sources, around: Surroundings) -> Source:
    from accelwatch.sources.npu_smi import NpuSmi
    from accelwatch.sources.npu_smi_host import pci_devices

    own = config.npu_smi
    return NpuSmi(
        pci=pci_devices(Path("/")) if own.sysfs is None else Path(own.sysfs),
        dev=Path("/dev") if own.sysfs is None else None,
        command=own.command,
        timeout=own.timeout,
        interval=own.interval,
        runner=around.runner,
        clock=around.clock,
    )


def _hccn_tool(config: Sources, around: Surroundings) -> Source:
    from accelwatch.sources.hccn_tool import HccnTool

    own = config.hccn_tool
    return HccnTool(
        command=own.command,
        timeout=own.timeout,
        interval=own.interval,
        runner=HccnRunner(around.reads),
        clock=around.clock,
        devices=around.ascend_devices,
    )


def _kernel_log(config: Sources, around: Surroundings) -> Source:
    from accelwatch.sources.kernel_log import KernelLog, boot_id_path, cursor_of

    return KernelLog(
        path=Path(config.kernel_log.path),
        reads=around.reads,
        deliver=around.kernel_records,
        clock=around.clock,
        cursor=cursor_of(around.cursors.get("kernel_log")),
        boot_id_path=boot_id_path(Path(config.processes.proc)),
    )


def _hccl_log(config: Sources, around: Surroundings) -> Source:
    from accelwatch.sources.hccl_log import HcclLog

    return HcclLog(paths=config.hccl_log.paths, clock=around.clock, cursor=around.cursors.get("hccl_log"))


def _rdma(config: Sources, _around: Surroundings) -> Source:
    from accelwatch.sources.rdma import Rdma

    return Rdma(sysfs=Path(config.rdma.sysfs))


def _processes(config: Sources, around: Surroundings) -> Source:
    from accelwatch.sources.processes import Processes

    return Processes(proc=Path(config.processes.proc), reads=around.reads, clock=around.clock, exits=around.exits)


# In the order in which one poll of everything asks them: hccn_tool needs the devices that npu_smi finds.
BUILDERS: dict[str, Build] = {
    "nvml": _nvml,
    "npu_smi": _npu_smi,
    "hccn_tool": _hccn_tool,
    "kernel_log": _kernel_log,
    "hccl_log": _hccl_log,
    "rdma": _rdma,
    "processes": _processes,
}


def settings(config: Sources, name: str) -> Common:
    """The section of the configuration that belongs to a source."""
    section: Common = getattr(config, name)
    return section
