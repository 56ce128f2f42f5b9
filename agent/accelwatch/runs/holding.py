"""Which process holds which device, and which holders are no training runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from accelwatch.readings.process import HostProcess

# Tools and daemons that open devices without training on them, by the beginning of the name as the kernel keeps it
# (15 characters): NVIDIA's and Huawei's own, and the monitors that people run.
_NO_RUNS = (
    "nvidia-smi", "nvidia-persiste", "nvidia-cuda-mps", "nvidia-modprobe", "nvidia-device-p", "nvidia-bug-repo",
    "nv-hostengine", "nv-fabricmanage", "nv-fabric", "nvlsm", "nvsm", "dcgm", "dcgm-", "dcgmi", "dcgmproftester",
    "npu-smi", "npu-exporter", "npu_exporter", "hccn_tool", "hccp_service", "ascend-dmi", "ascend-device-p",
    "ascend_dmi", "device-plugin", "msnpureport", "dmp_daemon", "slogd", "log-daemon", "adda",
    "nvtop", "nvitop", "gpustat", "btop", "gpud", "all-smi", "telegraf", "Xorg", "Xwayland", "gnome-shell",
    "accelwatch",
)  # fmt: skip
_EXACT = frozenset(("nvsm", "adda", "btop", "dcgm", "gpud"))  # too short for the beginning of a name
_NAME_LENGTH = 15


class HeldDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the inventory as runs see it."""

    vendor: str
    device: str  # its label
    model: str = ""
    node: str | None = None  # its device node below /dev: nvidia3, davinci3
    pids: tuple[int, ...] | None = None  # who holds it, by its driver; `None`: the driver does not say
    parent: str | None = None  # of a MIG device: the label of its GPU

    @property
    def key(self) -> tuple[str, str]:
        """Vendor and label."""
        return self.vendor, self.device


def is_run(process: HostProcess, own_pid: int | None) -> bool:
    """Whether a holder may be part of a run: not a tool, not a daemon, not this agent or its children."""
    if own_pid is not None and own_pid in (process.pid, process.parent):
        return False
    name = process.name[:_NAME_LENGTH]
    return not any(name == known if known in _EXACT else name.startswith(known) for known in _NO_RUNS)


def holders(processes: Iterable[HostProcess], devices: Sequence[HeldDevice]) -> Mapping[int, tuple[HeldDevice, ...]]:
    """By pid, the devices that each process holds; processes that hold none are not in it.

    On NVIDIA a process opens the nodes of every GPU that it can see, so the driver's list of pids decides, unless it
    knows none of our pids (another pid namespace) or does not say. On Ascend an open node is evidence by itself.
    """
    known = {process.pid for process in processes}
    by_node: dict[str, set[int]] = {}
    for process in processes:
        for node in process.devices:
            by_node.setdefault(node, set()).add(process.pid)
    held: dict[int, list[HeldDevice]] = {}
    for device in devices:
        opened = by_node.get(device.node, set()) if device.node is not None else set()
        told = None if device.pids is None else known.intersection(device.pids)
        if told is None or (device.pids and not told):
            pids = opened
        elif device.vendor == "ascend":
            pids = told | opened
        else:
            pids = told
        for pid in pids:
            held.setdefault(pid, []).append(device)
    return {pid: _without_parents(found) for pid, found in held.items()}


def _without_parents(devices: list[HeldDevice]) -> tuple[HeldDevice, ...]:
    """A process on a MIG device is listed for its GPU too: it holds the part, not the whole."""
    parents = {(device.vendor, device.parent) for device in devices if device.parent is not None}
    return tuple(sorted((d for d in devices if d.key not in parents), key=lambda device: device.key))
