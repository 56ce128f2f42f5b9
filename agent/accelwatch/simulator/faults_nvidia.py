"""Faults that only NVIDIA nodes show (reference/nvidia.md sections 3 to 6)."""

from __future__ import annotations

from accelwatch.simulator.fault import Context, Kind, xid_line

# Texts in the drivers' own manner; any other number takes `text`.
_XID_TEXTS = {
    13: "Graphics SM Warp Exception on (GPC 1, TPC 2, SM 0): Out Of Range Address",
    31: "channel 0x00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC0 GPCCLIENT_T1_0 faulted @ 0x7f42_00000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    43: "channel 0x00000010",
    45: "channel 0x00000010",
    48: "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at physical address 0x1a2b3c.",
    62: "2027a2a0 00000000 00000000 2027a2a0",
    63: "Row Remapper: New row (0x00000000 0x1a2b) marked for remapping, reset gpu to activate.",
    64: "Row Remapper: Error recording row remap, row 0x1a2b",
    74: "NVLink: fatal error detected on link 3(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)",
    79: "GPU has fallen off the bus.",
    92: "High single-bit ECC error rate",
    94: "Contained: SM (0x1). RST: No, D-RST: No",
    95: "Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No",
    109: "channel 0x00000010, errorString CTX SWITCH TIMEOUT, Info 0x5c00a",
    119: "Timeout after 6s of waiting for RPC response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20800a4c 0x4).",
    120: "GSP task exception: 3 (0x3) @ pc:0x1a2b3c",
    122: "SPI PMU RPC Read Failure (0x65)",
    140: "An uncorrectable ECC error detected (possible SRAM address), GPC:0",
    149: "NETIR_LINK_EVT  Fatal   XC0 i0 Link 05 (0x004bc2c2 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)",
    154: "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
}
# Those that the driver ascribes to a channel's process.
_WITH_PROCESS = frozenset((13, 31, 43, 45, 48, 94, 95, 109, 119, 120))


def _status(code: int) -> Kind:
    def change(c: Context) -> None:
        c.nvidia.status = code

    return Kind(f"every NVML call on the GPU gives {code} (Unknown Error)", change)


def _reset_required(c: Context) -> None:
    c.nvidia.status = 16
    c.nvidia.recovery_action = 1


def _blocked(c: Context) -> None:
    symbol = c.word("call", "*")
    if c.device is None:
        c.node.blocked_library_calls.append(symbol)
    else:
        c.nvidia.blocked_calls.append(symbol)


def _call_result(c: Context) -> None:
    results = c.node.call_results if c.device is None else c.nvidia.call_results
    for symbol in c.word("call", "nvmlDeviceGetPowerUsage").split(","):
        results[symbol] = int(c.number("code", 13))


def _field_result(c: Context) -> None:
    c.nvidia.field_results[int(c.number("field", 186))] = int(c.number("code", 3))


def _init_fails(c: Context) -> None:
    c.node.init_result = int(c.number("code", 18))


def _rows(c: Context) -> None:
    c.nvidia.rows_uncorrected += int(c.number("rows", 1))
    c.nvidia.xid_events.append(63)


def _remap(c: Context) -> None:
    _rows(c)
    c.nvidia.rows_pending = True
    c.nvidia.rows_failed = c.nvidia.rows_failed or bool(c.number("failed", 0))


def _remap_failed(c: Context) -> None:
    c.nvidia.rows_failed = True
    c.nvidia.xid_events.append(64)


def _retired_pages(c: Context) -> None:
    c.nvidia.row_remapping = False
    c.nvidia.retired_pages_uncorrected += int(c.number("pages", 1))
    c.nvidia.retired_pages_pending = True


def _sram_threshold(c: Context) -> None:
    c.nvidia.sram_threshold_exceeded = True


def _pcie(c: Context) -> None:
    c.nvidia.pcie_width = int(c.number("width", 8))
    c.nvidia.pcie_generation = int(c.number("generation", c.nvidia.pcie_generation))
    _replays(c)


def _replays(c: Context) -> None:
    c.nvidia.pcie_replays += int(c.number("replays", 100))


def _power_brake(c: Context) -> None:
    c.nvidia.throttle_bits |= 0x88


def _recovery(c: Context) -> None:
    c.nvidia.recovery_action = int(c.number("action", 1))


def _fabric(c: Context) -> None:
    # Degraded bandwidth is true, the other three are false, the configuration has no fault.
    c.nvidia.fabric_health_mask = int(c.number("mask", 0x1A9))
    c.nvidia.fabric_state = int(c.number("state", 3))
    c.nvidia.fabric_status = int(c.number("status", 0))


def _xid_number(c: Context) -> int:
    return int(c.number("xid", 13))


def _xid(c: Context) -> None:
    c.nvidia.xid_events.append(_xid_number(c))


def _xid_lines(c: Context) -> list[str]:
    number = _xid_number(c)
    text = c.word("text", _XID_TEXTS.get(number, "unknown"))
    return [xid_line(c, number, text, number in _WITH_PROCESS)] * int(c.number("times", 1))


def _gsp(c: Context) -> None:
    _gsp_event(c)
    c.nvidia.blocked_calls.append("*")


def _gsp_event(c: Context) -> None:
    c.nvidia.xid_events.append(119)


def _sxid_lines(c: Context) -> list[str]:
    """The event, and the two lines that follow it with the same number (reference/nvidia.md 5.2)."""
    number, switch, link = int(c.number("sxid", 20034)), int(c.number("switch", 0)), int(c.number("link", 30))
    head = f"nvidia-nvswitch{switch}: SXid (PCI:0000:{5 + switch:02x}:00.0): {number},"
    fatal = "Fatal" if c.number("fatal", 1) else "Non-fatal"
    return [
        f"{head} {fatal}, Link {link:02d} {c.word('text', 'LTSSM Fault Up')}",
        f"{head} Severity {1 if fatal == 'Fatal' else 0} Engine instance {link:02d} Sub-engine instance 00",
        f"{head} Data {{0x00140004, 0x00100000, 0x00140004, 0x00000000, 0x00000000}}",
    ]


def xid_text(number: int) -> str:
    """What the driver writes for an Xid that this simulation knows. Raises `KeyError`."""
    return _XID_TEXTS[number]


KINDS: dict[str, Kind] = {
    "reset_required": Kind("NVML asks for a reset of the GPU (16)", _reset_required),
    "unknown_999": _status(999),
    "blocked": Kind("an NVML call (`call`, default every one) never returns; without a device: of the library", _blocked),
    "call_result": Kind("NVML functions `call` (with commas) give `code` (13: an older driver lacks them)", _call_result),
    "field_result": Kind("NVML field `field` gives `code`", _field_result),
    "init_fails": Kind("nvmlInit gives `code` (18: driver upgraded under us)", _init_fails),
    "row_remap": Kind("`rows` remapped, reset pending; `failed`=1: remapping failed", _remap, lambda c: [xid_line(c, 63, xid_text(63))], _rows),
    "row_remap_failed": Kind("recording a remapped row failed", _remap_failed, lambda c: [xid_line(c, 64, xid_text(64))], lambda c: c.nvidia.xid_events.append(64)),
    "retired_pages": Kind("a GPU from before Ampere: `pages` retired, reset pending", _retired_pages),
    "sram_threshold": Kind("uncorrected SRAM errors reach the threshold for replacement", _sram_threshold),
    "pcie_degraded": Kind("PCIe at `width` lanes and `generation`, with `replays`", _pcie, leaves=_replays),
    "power_brake": Kind("the power brake slows the GPU", _power_brake),
    "recovery_action": Kind("the driver asks for `action` (1 reset, 2 reboot, ...)", _recovery),
    "fabric": Kind("the NVSwitch fabric is unhealthy (`mask`), or in `state` with `status`", _fabric),
    "xid": Kind("Xid `xid` in the kernel log and event sets, with `text`, `times` over", _xid, _xid_lines, _xid),
    "gsp_timeout": Kind("the GPU's system processor does not answer: Xid 119, and every call on it blocks", _gsp, lambda c: [xid_line(c, 119, xid_text(119), True)], _gsp_event),
    "sxid": Kind("SXid `sxid` of NVSwitch `switch` and `link`; `fatal`=0: not fatal", lambda _c: None, _sxid_lines),
}  # fmt: skip
