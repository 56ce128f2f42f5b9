"""The answers of `npu-smi info -t <type>` (reference/ascend.md section 2.2).

An answer is lines of a tab, the key padded to 30 characters (40 for ECC), ` : ` and the value. Where a card has
several chips their blocks follow each other; `Chip ID` ends each block, and begins it in `common`.
The keys of `spod-info` are from its DCMI structure: no capture of a host that supports it is known to us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accelwatch.simulator.npu_smi_info import DDR_ONLY, number
from accelwatch.simulator.npu_smi_lists import pair, topology
from accelwatch.simulator.state import AscendDevice, Link, Node

Pairs = list[tuple[str, str]]
ALL = ("310", "310B", "310P", "910", "910B", "A3", "950")
SERVERS = ("910", "910B", "A3")

# Texts of codes that runs meet often, in the driver's own words: node type, sensor type, event state.
_CODES = {
    "40F84E00": ("BaseService", "Heartbeat Sensor", "Heartbeat Lost"),
    "81078603": ("PORT", "Safety State", "port link status change(up to down)"),
    "80C98008": ("AIC", "RAS State", "multiple bit ecc error"),
    "80CB800A": ("AIV", "RAS State", "service timeout"),
    "80E01801": ("HBM/3DRAM", "Memory", "Uncorrectable ECC / other uncorrectable memory error"),
    "80E18005": ("HBM/3DRAM", "RAS State", "parity error"),
    "80E18402": ("HBM/3DRAM", "Memory Err Rec", "Uncorrectable ECC address count reached the upper limits"),
}
_SEVERITY = {"OK": 0, "Warning": 1, "Alarm": 2, "Critical": 3}


@dataclass(frozen=True, slots=True)
class Query:
    """One type: `text(node, chips, one chip was asked for)`."""

    text: Callable[[Node, Sequence[AscendDevice], bool], str]
    families: Sequence[str] = ALL
    per_chip: bool = False  # refused without -c, which 950 does not have
    since: tuple[int, ...] = ()  # the first version of the tool that has it


def _head(node: Node, card: Sequence[AscendDevice], width: int) -> str:
    text = pair("NPU ID", card[0].npu_id, width)
    return text if node.family == "950" else text + pair("Chip Count", len(card), width) + "\n"


def _blocks(
    keys: Callable[[Node, AscendDevice], Pairs],
    *,
    width: int = 30,
    begins: bool = False,
    named: bool = True,
    families: Sequence[str] = ALL,
) -> Query:
    """A query whose answer is one block per chip, of which `Chip ID` is the last line, or the first.

    `named`: 950's answer begins with the NPU's id, as that of all others does.
    """

    def text(node: Node, card: Sequence[AscendDevice], _one: bool) -> str:
        result = _head(node, card, width) if named or node.family != "950" else ""
        for device in card:
            chip = [] if node.family == "950" else [("Chip ID", str(device.chip_id))]
            pairs = [*chip, *keys(node, device)] if begins else [*keys(node, device), *chip]
            result += "".join(pair(key, value, width) for key, value in pairs)
            result += "\n" if begins and chip and device is not card[-1] else ""
        return result

    return Query(text, families)


def _health(node: Node, card: Sequence[AscendDevice], one: bool) -> str:
    """Nothing but the three keys for one chip; 950 names its NPU instead."""
    text = pair("NPU ID", card[0].npu_id) if node.family == "950" else ""
    for device in card:
        texts = [_code_text(code) for code in device.error_codes] or ["NA"]
        text += pair("Health" if node.family == "950" else "Health Status", device.health or "UNKNOWN")
        text += pair("Error Code", " ".join(device.error_codes) or "NA")
        text += pair("Error Information", texts[0])
        text += "".join("\n" + pair("", more) for more in texts[1:])
        if len(card) > 1 and not one:
            text += pair("Chip ID", device.chip_id)
    return text


def _code_text(code: str) -> str:
    known = _CODES.get(code)
    if known is None:
        return f"Failed to get error information for error code : 0x{code}"
    return f"node type={known[0]}, sensor type={known[1]}, event state={known[2]}"


def _memories(node: Node) -> tuple[str, ...]:
    return ("DDR",) if node.family in DDR_ONLY else ("DDR", "HBM") if node.family == "910" else ("HBM",)


def _ecc(node: Node, device: AscendDevice) -> Pairs:
    if node.family in DDR_ONLY and node.tool.startswith("21."):
        return [(f"{bit.capitalize()}-bit Error Count", _count(device, f"ddr_{bit}")) for bit in ("single", "double")]
    names = [("Error Count", ""), ("Aggregate Total Err Cnt", "_aggregate"), ("Isolated Pages Count", "_isolated")]
    if node.family in ("310P", "950"):
        names.append(("Next-Isolated Pages Count", "_next_isolated"))
    return [
        (f"{memory} {bit.capitalize()} Bit {title}", _count(device, f"{memory.lower()}_{bit}{suffix}"))
        for memory in _memories(node)
        for title, suffix in names
        for bit in ("single", "double")
    ]


def _count(device: AscendDevice, name: str) -> str:
    return str(device.ecc.get(name, 0))


def _rate(used: int, total: int) -> str:
    return str(100 * used // total) if total else "0"


def _ddr(node: Node, device: AscendDevice) -> tuple[int, int]:
    """Used and total MiB; 310 and 310P have no other memory."""
    if node.family in DDR_ONLY:
        return device.memory_used_mib, device.memory_total_mib
    return device.ddr_used_mib, device.ddr_total_mib


def _usages(node: Node, device: AscendDevice) -> Pairs:
    ddr, hbm = _ddr(node, device), (device.memory_used_mib, device.memory_total_mib)
    pairs: Pairs = []
    if ddr[1]:
        pairs += [("DDR Capacity(MB)", str(ddr[1])), ("DDR Usage Rate(%)", _rate(*ddr))]
        pairs += [
            ("DDR Hugepages Total(page)", str(device.hugepages_total)),
            ("DDR Hugepages Usage Rate(%)", _rate(device.hugepages_used, device.hugepages_total)),
        ]
    if node.family not in DDR_ONLY:
        pairs += [("HBM Capacity(MB)", str(hbm[1])), ("HBM Usage Rate(%)", _rate(*hbm))]
    # A value that cannot be had is left out here, not NA.
    if device.utilization_percent is not None:
        used = number(device.utilization_percent)
        pairs.append(("Aicore Usage Rate(%)", used))
        if node.family in ("910B", "A3", "950"):
            pairs.append(("Aivector Usage Rate(%)", used))
    pairs += [("Aicpu Usage Rate(%)", "0"), ("Ctrlcpu Usage Rate(%)", "0"), ("DDR Bandwidth Usage Rate(%)", "0")]
    return pairs if node.family in DDR_ONLY else [*pairs, ("HBM Bandwidth Usage Rate(%)", "0")]


def _common(node: Node, device: AscendDevice) -> Pairs:
    pairs = [("Memory Usage Rate(%)", _rate(*_ddr(node, device)))]
    if node.family not in DDR_ONLY:
        pairs.append(("HBM Usage Rate(%)", _rate(device.memory_used_mib, device.memory_total_mib)))
    pairs += [
        ("Aicore Usage Rate(%)", number(device.utilization_percent)),
        ("Aicore Freq(MHZ)", "1650"),
        ("Aicore curFreq(MHZ)", str(device.aicore_clock_mhz)),
        ("Aicore Count", str(device.aicore_count)),
        ("Temperature(C)", number(device.temperature_celsius)),
    ]
    power = "Rated Power Dissipation(W)" if node.family in ("310", "310P") else "NPU Real-time Power(W)"
    return [*pairs, (power, number(device.power_watts, 1))]


def _common_and_mcu(node: Node, card: Sequence[AscendDevice], one: bool) -> str:
    """On 910 and 910B the card's MCU follows with sensors of its own, under the chip's keys and without an id."""
    text = _COMMON.text(node, card, one)
    if one or node.family not in ("910", "910B"):
        return text
    warm = card[0].temperature_celsius
    text += "\n" + pair("Chip Name", "mcu") + pair("Temperature(C)", number(None if warm is None else warm - 4))
    return text if node.family == "910B" else text + pair("NPU Real-time Power(W)", "45.2")


_COMMON = _blocks(_common, begins=True)


def _board(node: Node, card: Sequence[AscendDevice], one: bool) -> str:
    """The card's; with `-c` the chip's; on 950, which has one chip, both in one."""
    first = card[0]
    chip: Pairs = [("Chip ID", str(first.chip_id)), ("Chip Type", "Ascend"), ("Chip Name", first.model)]
    if node.family == "950":
        chip = [("Product Name", first.model), ("Chip Name", first.model), ("Serial Number", first.serial or "NA")]
    device = {"910": "0xD801", "910B": "0xD802", "A3": "0xD803", "950": "0xD806"}.get(node.family, "0xD500")
    pairs: Pairs = [
        ("NPU ID", str(first.npu_id)), *(chip if one or node.family == "950" else ()),
        *(() if one else (("Software Version", node.driver),)), ("Firmware Version", first.firmware or "NA"),
        ("Compatibility", "OK"), ("Board ID", "0x02"), ("PCB ID", "A"), ("BOM ID", "1"),
        ("PCIe Bus Info", first.pci.upper() or "NA"), ("Slot ID", "0"), ("Class ID", "NA"),
        ("PCI Vendor ID", "0x19E5"), ("PCI Device ID", device), ("Subsystem Vendor ID", "0x0200"),
        ("Subsystem Device ID", "0x0100"), *(() if one else (("Chip Count", str(len(card))),)),
    ]  # fmt: skip
    return "".join(pair(*line) for line in pairs)


def _memory(node: Node, device: AscendDevice) -> Pairs:
    pairs = [("DDR Capacity(MB)", str(_ddr(node, device)[1])), ("DDR Clock Speed(MHz)", "0")]
    if node.family in DDR_ONLY:
        return pairs
    return [
        *pairs,
        ("HBM Capacity(MB)", str(device.memory_total_mib)),
        ("HBM Clock Speed(MHz)", str(device.hbm_clock_mhz)),
        ("HBM Temperature(C)", number(device.memory_temperature_celsius)),
        ("HBM Manufacturer ID", "0x5A"),
    ]


def _ecc_enabled(node: Node, _device: AscendDevice) -> Pairs:
    return [(f"{memory} ECC-Enable Status", "True") for memory in _memories(node)]


def _temperature(node: Node, device: AscendDevice) -> Pairs:
    return [
        (
            "NPU Temperature (C)" if node.family in SERVERS else "Temperature (C)",
            number(device.temperature_celsius),
        )
    ]


def _sensors(_node: Node, device: AscendDevice) -> Pairs:
    soc = number(device.temperature_celsius)
    return [
        ("Soc Max Temperature (C)", soc),
        ("SFP Temperature (C)", "NA"),
        ("NDIE Temperature (C)", soc),
        ("HBM Temperature (C)", number(device.memory_temperature_celsius)),
    ]


def _pcie_errors(_node: Node, _device: AscendDevice) -> Pairs:
    names = ("TX Error Count", "RX Error Count", "Lcrc Error Count", "Ecrc Error Count", "Retry Count")
    return [(name, "0") for name in names]


def _superpod(_node: Node, device: AscendDevice) -> Pairs:
    return [
        ("SDID", str(device.phy_id)), ("Super Pod Size", "16"), ("Super Pod ID", "0"), ("Server Index", "0"),
    ]  # fmt: skip


def _hccs(_node: Node, card: Sequence[AscendDevice], _one: bool) -> str:
    """One column of 20 characters per link; a 0 in a lane list is a lane that is lost."""
    device = card[0]

    def line(name: str, value: Callable[[Link], object]) -> str:
        return pair(f"hccs {name} ", "[" + "".join(f"{value(link)!s:<20}" for link in device.links) + "]")

    return (
        pair("hccs health status ", "OK" if device.hccs_healthy else "NOK")
        + line("lane mode", lambda _link: 4)
        + line("link lane list", lambda link: "1111" if link.up else "0000")
        + line("link speed", lambda _link: 224)
        + line("tx packets", lambda link: link.packets)
        + line("tx bytes", lambda link: link.packets * 20)
        + line("rx packets", lambda link: link.packets)
        + line("rx bytes", lambda link: link.packets * 20)
        + line("retry count", lambda link: link.errors.get("retry", 0))
        + line("error count", lambda link: link.errors.get("error", 0))
        + pair("hccs first error lane ", "NA")
    )


def _proc_mem(node: Node, card: Sequence[AscendDevice], _one: bool) -> str:
    text = pair("NPU ID", card[0].npu_id) if node.family == "950" else ""
    for device in card:
        for process in device.processes:
            memory = process.memory_bytes >> 20
            text += f"\tProcess id:{process.pid}  Process name:{process.name[:15]:<18}Process memory(MB):{memory}\n"
        if not device.processes:
            text += "\tNo process in device.\n"
        text += "" if node.family == "950" else pair("Chip ID", device.chip_id)
    return text


def _fault_events(_node: Node, card: Sequence[AscendDevice], _one: bool) -> str:
    events = [
        # Bits 17 to 27 of an event id are its node type (section 5).
        f"event id=0x{code}, severity={_SEVERITY.get(device.health, 1)}, "
        f"node type ex={int(code, 16) >> 17 & 0x7FF}, node id=0, sub node type ex=0, sub node id=0"
        for device in card
        for code in device.error_codes
    ]
    text = pair("Fault Event Count", len(events))
    return text + "".join(
        pair("Fault Event Information" if place == 0 else "", event) for place, event in enumerate(events or ["NA"])
    )


def _sio(_node: Node, card: Sequence[AscendDevice], _one: bool) -> str:
    """Keys are not padded here."""
    return "".join(
        pair(f"{way} Error Count", card[0].sio_errors.get(f"{way.lower()}_error", 0), 0) for way in ("TX", "RX")
    )


QUERIES: dict[str, Query] = {
    "health": Query(_health),
    "ecc": _blocks(_ecc, width=40),
    "usages": _blocks(_usages),
    "common": Query(_common_and_mcu),
    "temp": _blocks(_temperature),
    "power": _blocks(lambda _node, device: [("NPU Real-time Power(W)", number(device.power_watts, 1))]),
    "memory": _blocks(_memory),
    "board": Query(_board),
    "sensors": _blocks(_sensors, named=False),
    "pcie-err": _blocks(_pcie_errors),
    "ecc-enable": _blocks(_ecc_enabled, named=False),
    "proc-mem": Query(_proc_mem),
    "hccs": Query(_hccs, ("910B", "A3"), per_chip=True),
    "sio-info": Query(_sio, ("A3", "950"), per_chip=True),
    "spod-info": _blocks(_superpod, families=("A3",)),
    "topo": Query(lambda node, card, _one: topology(node, card)),
    "current-fault-event": Query(_fault_events, since=(25, 7), per_chip=True),
}
