"""The faults that a simulated node can show, by name; each a change to its true state, and kernel-log lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from accelwatch.simulator.state import AscendDevice, Device, Node, NvidiaDevice, ToolTrouble

Parameters = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Context:
    """Where and how a fault strikes; `age` is scenario seconds since it began."""

    node: Node
    device: Device | None
    parameters: Parameters
    age: float
    started: float

    def number(self, name: str, default: float) -> float:
        """A parameter as a number."""
        return float(self.parameters.get(name, default))

    @property
    def nvidia(self) -> NvidiaDevice:
        """The GPU. Raises `ValueError` where the fault names none."""
        if not isinstance(self.device, NvidiaDevice):
            raise ValueError("this fault needs an NVIDIA device")
        return self.device

    @property
    def ascend(self) -> AscendDevice:
        """The NPU. Raises `ValueError` where the fault names none."""
        if not isinstance(self.device, AscendDevice):
            raise ValueError("this fault needs an Ascend device")
        return self.device

    @property
    def any(self) -> Device:
        """The device of either vendor. Raises `ValueError` where the fault names none."""
        if self.device is None:
            raise ValueError("this fault needs a device")
        return self.device


Change = Callable[[Context], None]
Lines = Callable[[Context], list[str]]


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    help: str
    change: Change
    lines: Lines = field(default=lambda _context: [])


def _address(context: Context) -> str:
    return context.any.pci.rpartition(".")[0]


def _xid(context: Context, number: int, text: str) -> list[str]:
    return [f"NVRM: Xid (PCI:{_address(context)}): {number}, {text}"]


def _lost(c: Context) -> None:
    if isinstance(c.any, NvidiaDevice):
        c.any.status = int(c.number("code", 15))
    else:
        c.any.present = False


def _lost_lines(c: Context) -> list[str]:
    if isinstance(c.any, NvidiaDevice):
        return _xid(c, 79, "GPU has fallen off the bus.")
    number = c.ascend.phy_id
    return [
        f"[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/0:1> Heartbeat lost! (device={number}; old_count=1204; lost_count=4)"
    ]


def _vanish(c: Context) -> None:
    c.any.present = False


def _reset_required(c: Context) -> None:
    c.nvidia.status = 16
    c.nvidia.recovery_action = 1


def _blocked(c: Context) -> None:
    symbol = str(c.parameters.get("call", "*"))
    if c.device is None:
        c.node.blocked_library_calls.append(symbol)
    else:
        c.nvidia.blocked_calls.append(symbol)


def _ecc(kind: str) -> Change:
    def change(c: Context) -> None:
        count = int(c.number("count", 1))
        if isinstance(c.any, NvidiaDevice):
            key = f"{c.parameters.get('memory', 'hbm')}_{kind}"
            for counts in (c.any.ecc_volatile, c.any.ecc_aggregate):
                counts[key] = counts.get(key, 0) + count
            return
        bit = "single" if kind == "corrected" else "double"
        for suffix in ("", "_aggregate"):
            c.ascend.ecc[f"hbm_{bit}{suffix}"] = c.ascend.ecc.get(f"hbm_{bit}{suffix}", 0) + count
        if kind == "uncorrected":
            c.ascend.error_codes.append("80E01801")
            c.ascend.health = "Alarm"

    return change


def _ecc_lines(c: Context) -> list[str]:
    if not isinstance(c.any, NvidiaDevice):
        return []
    return _xid(
        c,
        48,
        "pid=4242, name=python3, An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at physical address 0x1a2b3c.",
    )


def _remap(c: Context) -> None:
    c.nvidia.rows_uncorrected += int(c.number("rows", 1))
    c.nvidia.rows_pending = True
    c.nvidia.rows_failed = bool(c.number("failed", 0))


def _nvlink_or_hccs_down(c: Context) -> None:
    for link in c.any.links:
        if link.number == int(c.number("link", 0)):
            link.up = False
    if isinstance(c.any, AscendDevice):
        c.any.hccs_healthy = False


def _link_errors(c: Context) -> None:
    count = int(c.number("per_second", 10) * c.age) + 1
    name = {"hopper": "crc_flit", "ampere": "crc_flit", "blackwell": "rx_errors"}.get(c.node.family, "error")
    for link in c.any.links:
        if link.number == int(c.number("link", 0)):
            link.errors[name] = link.errors.get(name, 0) + count


def _roce_down(c: Context) -> None:
    port = c.ascend.roce
    if port is None:
        raise ValueError("this device has no RoCE port")
    port.up = False
    port.drops += 1
    port.history.append((c.started, False))


def _roce_flap(c: Context) -> None:
    """Down and up again between two polls: only the history tells."""
    port = c.ascend.roce
    if port is None:
        raise ValueError("this device has no RoCE port")
    times = int(c.number("times", 1))
    port.drops += times
    port.ups += times
    for number in range(times):
        port.history += [(c.started + 2 * number, False), (c.started + 2 * number + 1, True)]


def _pcie(c: Context) -> None:
    c.nvidia.pcie_width = int(c.number("width", 8))
    c.nvidia.pcie_replays += int(c.number("replays", 100))


def _thermal(c: Context) -> None:
    c.any.temperature_celsius = c.number("celsius", 95)
    if isinstance(c.any, NvidiaDevice):
        c.any.throttle_bits |= 0x48


def _power(c: Context) -> None:
    c.nvidia.throttle_bits |= 0x88


def _recovery(c: Context) -> None:
    c.nvidia.recovery_action = int(c.number("action", 1))


def _fabric(c: Context) -> None:
    c.nvidia.fabric_health_mask = int(c.number("mask", 0x2A9 & ~0x3 | 1))


def _xid_only(c: Context) -> None:
    c.nvidia.xid_events.append(int(c.number("xid", 13)))


def _code(c: Context) -> None:
    c.ascend.error_codes.append(str(c.parameters.get("code", "80C98008")))
    c.ascend.health = str(c.parameters.get("health", "Alarm"))


def _health_out_of_range(c: Context) -> None:
    c.ascend.health = ""


def _tool(c: Context) -> None:
    trouble = ToolTrouble(
        str(c.parameters.get("kind", "garbage")), str(c.parameters.get("match", "")), c.number("seconds", 3)
    )
    tool = str(c.parameters.get("tool", "npu-smi"))
    (c.node.hccn_tool_trouble if tool == "hccn_tool" else c.node.npu_smi_trouble).append(trouble)


def _init_fails(c: Context) -> None:
    c.node.init_result = int(c.number("code", 18))


def _kernel_line(_context: Context) -> None:
    return


def _text(c: Context) -> list[str]:
    return [str(c.parameters.get("text", "INFO: task nvidia-smi:4711 blocked for more than 120 seconds."))]


KINDS: dict[str, Kind] = {
    "lost": Kind("the device falls off the bus (NVML 15 or `code`; gone from npu-smi)", _lost, _lost_lines),
    "vanish": Kind("the device is not listed any more, without a word", _vanish),
    "reset_required": Kind("NVML asks for a reset of the GPU", _reset_required),
    "blocked": Kind("an NVML call (`call`, default every one) never returns; without a device: of the library", _blocked),
    "ecc_corrected": Kind("`count` corrected memory errors", _ecc("corrected")),
    "ecc_uncorrected": Kind("`count` uncorrected memory errors", _ecc("uncorrected"), _ecc_lines),
    "row_remap": Kind("`rows` remapped, reset pending; `failed`=1: remapping failed", _remap, lambda c: _xid(c, 63, "Row Remapper: New row marked for remapping, reset gpu to activate.")),
    "link_down": Kind("NVLink or HCCS `link` goes down", _nvlink_or_hccs_down),
    "link_errors": Kind("errors grow on NVLink or HCCS `link`, `per_second`", _link_errors),
    "roce_down": Kind("the NPU's RoCE port goes down", _roce_down),
    "roce_flap": Kind("the RoCE port drops and returns `times` between two polls", _roce_flap),
    "pcie_degraded": Kind("PCIe at `width` lanes, with `replays`", _pcie),
    "thermal": Kind("the device gets `celsius` hot and slows down", _thermal),
    "power_brake": Kind("the power brake slows the GPU", _power),
    "recovery_action": Kind("the driver asks for `action`", _recovery),
    "fabric": Kind("the NVSwitch fabric is unhealthy (`mask`)", _fabric),
    "xid": Kind("Xid `xid` with `text` in the kernel log", _xid_only, lambda c: _xid(c, int(c.number("xid", 13)), str(c.parameters.get("text", "Graphics SM Warp Exception")))),
    "error_code": Kind("Ascend error code `code` with `health`", _code),
    "health_out_of_range": Kind("npu-smi leaves out the chip's first line", _health_out_of_range),
    "tool": Kind("`tool` (npu-smi, hccn_tool) does `kind`: block, garbage, truncate, empty, flood, language, error_8005, slow", _tool),
    "init_fails": Kind("nvmlInit gives `code` (18: driver upgraded under us)", _init_fails),
    "kernel_line": Kind("`text` in the kernel log", _kernel_line, _text),
}  # fmt: skip
