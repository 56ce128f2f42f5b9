"""Faults of a host: its kernel, its RDMA ports, its processes, and the work that stands still."""

from __future__ import annotations

from accelwatch.simulator.fault import Context, Kind, add, nothing
from accelwatch.simulator.state import Process, RdmaPort


def _rdma_port(c: Context) -> RdmaPort:
    number = int(c.number("port", 0 if c.device is None else c.device.index))
    if not 0 <= number < len(c.node.rdma):
        raise ValueError(f"node {c.node.name} has {len(c.node.rdma)} RDMA ports, no mlx5_{number}")
    return c.node.rdma[number]


def _rdma_down(c: Context) -> None:
    _rdma_port(c).up = False
    _rdma_dropped(c)


def _rdma_dropped(c: Context) -> None:
    _rdma_port(c).link_downed += int(c.number("times", 1))


def _rdma_errors(c: Context) -> None:
    add(_rdma_port(c).errors, c.word("counter", "symbol_error"), int(c.number("per_second", 10) * c.age) + 1)


def _mlx5_lines(c: Context) -> list[str]:
    """As kernels from about 6.15 on tell it; before, a lost InfiniBand link is silent (reference/nvidia.md 5.3)."""
    number = c.node.rdma.index(_rdma_port(c))
    return [f"mlx5_core 0000:{0x9A + number:02x}:00.0: Port: 1 Link DOWN"]


def _first_process(c: Context) -> Process | None:
    devices = [c.device] if c.device is not None else [*c.node.nvidia, *c.node.ascend]
    return next((process for device in devices for process in device.processes), None)


def _hung(c: Context) -> None:
    process = _first_process(c)
    if process is not None:
        process.state = "D"


def _hung_lines(c: Context) -> list[str]:
    process = _first_process(c)
    name, pid = (process.name, process.pid) if process else ("nvidia-smi", 4711)
    frame = (
        "nvidia_ioctl+0x2a/0x40 [nvidia]" if c.node.vendor == "nvidia" else "devdrv_ioctl+0x5c/0x90 [drv_devmm_host]"
    )
    return [
        f"INFO: task {name}:{pid} blocked for more than {c.number('seconds', 120):.0f} seconds.",
        "      Tainted: G           OE     5.15.0-91-generic #101-Ubuntu",
        '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
        f"task:{name:<15} state:D stack:    0 pid:{pid:>5} ppid:     1 flags:0x00004006",
        "Call Trace:",
        f" {frame}",
    ]


def _aer_lines(c: Context) -> list[str]:
    address, fatal = c.any.pci, c.word("severity", "Corrected")
    driver = "nvidia" if c.node.vendor == "nvidia" else "devdrv_device_driver"
    return [
        f"pcieport 0000:00:01.0: AER: {fatal} error received: {address}",
        f"{driver} {address}: PCIe Bus Error: severity={fatal}, type=Physical Layer, (Receiver ID)",
        f"{driver} {address}:   device [{'10de:2330' if c.node.vendor == 'nvidia' else '19e5:d802'}] error status/mask=00000001/0000a000",
        f"{driver} {address}:    [ 0] RxErr                  (First)",
    ]


def _text(c: Context) -> list[str]:
    return c.word("text", "INFO: task nvidia-smi:4711 blocked for more than 120 seconds.").split("\\n")


def _booted(_c: Context) -> list[str]:
    return ["Linux version 5.15.0-91-generic (buildd@lcy02) #101-Ubuntu SMP"]


KINDS: dict[str, Kind] = {
    "rdma_down": Kind("RDMA port `port` (default: the device's) goes down, with a kernel line", _rdma_down, _mlx5_lines, _rdma_dropped),
    "rdma_silent_down": Kind("the same without a kernel line, as on older kernels", _rdma_down, leaves=_rdma_dropped),
    "rdma_flap": Kind("RDMA port `port` drops and returns `times` between two polls", _rdma_dropped, leaves=_rdma_dropped),
    "rdma_errors": Kind("`counter` of RDMA port `port` grows, `per_second`", _rdma_errors, leaves=_rdma_errors),
    "hung_task": Kind("a task is blocked in the kernel for `seconds`", _hung, _hung_lines),
    "aer": Kind("the root port reports a PCIe error of `severity` (Corrected, Uncorrected (Non-Fatal), ...)", nothing, _aer_lines),
    "kernel_line": Kind("`text` in the kernel log", nothing, _text),
    "reboot": Kind("the host boots anew: kill its agent first", nothing, _booted, reboots=True),
    "hang": Kind("the work stands still; `kind`: spin (device busy, NVIDIA) or quiet (idle, Ascend), else the vendor's", nothing),
    "process_death": Kind("the training process of the device (or all of the node) ends with `code` (default 1) or by `signal`; a new one begins when it is cleared", nothing),
}  # fmt: skip
