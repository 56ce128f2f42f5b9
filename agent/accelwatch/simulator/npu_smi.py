"""What the simulated `npu-smi` prints: the true layouts (reference/ascend.md section 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accelwatch.simulator.state import AscendDevice, Node


@dataclass(frozen=True)
class Answer:
    """What a tool leaves behind; `block`: it never returns."""

    stdout: str
    status: int = 0
    stderr: str = ""
    block: bool = False


# family -> width of the three cells, titles of the first column
_WIDTHS = {
    "310": (31, 17, 54), "310B": (31, 17, 54), "310P": (31, 17, 54),
    "910": (27, 15, 52), "910B": (27, 15, 52), "A3": (27, 15, 52),
}  # fmt: skip
_TABLE_26 = (27, 15, 70)
_TABLE_950 = (8, 18, 15, 70)


def answer(node: Node, argv: Sequence[str]) -> Answer:
    """The answer to `npu-smi <argv>`."""
    words = list(argv)
    if not words or words[0] != "info":
        return Answer("Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n", 215)
    devices = [device for device in node.ascend if device.present]
    if words == ["info"]:
        return Answer(table(node, devices))
    if words == ["info", "-m"]:
        return Answer(_map(node, devices))
    if words == ["info", "-l"]:
        return Answer(_list(devices))
    options = dict(zip(words[1::2], words[2::2], strict=False))
    type_, npu, chip = options.get("-t"), options.get("-i"), options.get("-c")
    if type_ is None or npu is None:
        return Answer("Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n", 215)
    if node.family == "950" and chip is not None:
        return Answer("Error parameter of -c\n", 215)
    card = [d for d in devices if str(d.npu_id) == npu and (chip is None or str(d.chip_id) == chip)]
    if not card:
        return Answer(
            "Invalid card id.\nError parameter of -i\nUsage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n",
            208,
        )
    query = QUERIES.get(type_)
    if query is None or (type_ == "hccs" and node.family not in ("910B", "A3")):
        return Answer(f"This device does not support querying {type_}.\n", 217)
    return Answer(query(node, card))


def table(node: Node, devices: Sequence[AscendDevice]) -> str:
    """`npu-smi info`."""
    if node.family == "950":
        return _table_950(node, devices)
    wide = node.tool.startswith("26")
    widths = _TABLE_26 if wide else _WIDTHS[node.family]
    inner = sum(widths) + 2
    rule, double = _rule(widths, "-"), _rule(widths, "=")
    old = node.family in ("310", "310B", "310P")
    lines = [f"+{'-' * inner}+", _row((inner,), f"npu-smi {node.tool:<24} Version: {node.driver}"), rule]
    if old:
        lines.append(_row(widths, "NPU     Name", "Health", "Power(W)     Temp(C)           Hugepages-Usage(page)"))
        lines.append(_row(widths, "Chip    Device", "Bus-Id", "AICore(%)    Memory-Usage(MB)"))
    elif wide:
        lines.append(
            _row(
                widths,
                "NPU   Name",
                "Health",
                "Power(W)             Temp(C)                 Hugepages-Usage(page)",
            )
        )
        lines.append(_row(widths, "Chip", "Bus-Id", "AICore(%)            Memory-Usage(MB)        HBM-Usage(MB)"))
    else:
        beside = "Chip  Phy-ID" if node.family == "A3" else "Chip"
        lines.append(_row(widths, "NPU   Name", "Health", "Power(W)    Temp(C)           Hugepages-Usage(page)"))
        lines.append(_row(widths, beside, "Bus-Id", "AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)"))
    lines.append(double)
    for number, device in enumerate(devices):
        lines += _chip(node, device, widths, old, wide)
        last_of_card = number + 1 == len(devices) or devices[number + 1].npu_id != device.npu_id
        lines.append(double if last_of_card else f"+{'-' * inner}+")
    return "\n".join([*lines, *_processes(devices, widths, wide)]) + "\n"


def _chip(node: Node, device: AscendDevice, widths: Sequence[int], old: bool, wide: bool) -> list[str]:
    power = "-" if device.chip_id else _value(device.power_watts, "NA")
    temperature, utilization = (
        _value(device.temperature_celsius, "NA", 0),
        _value(device.utilization_percent, "NA", 0),
    )
    ddr = f"{device.ddr_used_mib:<5}/ {device.ddr_total_mib:<5}"
    hbm = f"{device.memory_used_mib:<5}/ {device.memory_total_mib:<5}"
    bus = device.pci.upper() if node.family not in ("310", "310B") else "NA"
    columns = (13, 18) if old else (21, 24) if wide else (12, 18)
    first = _row(
        widths,
        f"{device.npu_id:<8}{device.model}" if old else f"{device.npu_id:<6}{device.model}",
        device.health,
        f"{power:<{columns[0]}}{temperature:<{columns[1]}}0     / 0",
    )
    if old:
        ids, usage = f"{device.chip_id:<8}{device.index}", hbm
    elif node.family == "A3":
        ids, usage = f"{device.chip_id:<6}{device.phy_id}", f"{ddr:<{columns[1]}}{hbm}"
    else:
        ids, usage = str(device.chip_id), f"{ddr:<{columns[1]}}{hbm}"
    second = _row(widths, ids, bus, f"{utilization:<{columns[0]}}{usage}")
    return [first, second] if device.health else [second]


def _table_950(node: Node, devices: Sequence[AscendDevice]) -> str:
    widths = _TABLE_950
    double = _rule(_TABLE_26, "=")
    lines = [
        f"+{'-' * (sum(widths) + 3)}+",
        _row((sum(widths) + 3,), f"npu-smi {node.tool:<24} Version: {node.driver}"),
        _rule(widths, "-"),
        _row(
            widths,
            "NPU ID",
            "Name",
            "Health",
            "Power(W)              Temp(C)                  Hugepages-Usage(page)",
        ),
        _row(widths, "", "", "Bus-Id", "NPU Util(%)           Memory-Usage(MB)         HBM-Usage(MB)"),
        _rule(widths, "="),
    ]
    for device in devices:
        power, temperature = _value(device.power_watts, "NA"), _value(device.temperature_celsius, "NA", 0)
        hbm = f"{device.memory_used_mib:<6}/ {device.memory_total_mib}"
        if device.health:
            lines.append(
                _row(
                    widths,
                    str(device.npu_id),
                    device.model,
                    device.health,
                    f"{power:<22}{temperature:<25}0     / 0",
                )
            )
        utilization = _value(device.utilization_percent, "NA", 0)
        lines += [
            _row(widths, "", "", device.pci.upper(), f"{utilization:<22}{'0     / 0':<25}{hbm}"),
            double,
        ]
    return "\n".join([*lines, *_processes(devices, _TABLE_26, True, with_chip=False)]) + "\n"


def _processes(devices: Sequence[AscendDevice], widths: Sequence[int], wide: bool, with_chip: bool = True) -> list[str]:
    columns = (widths[0], widths[1], 20, 23, 25) if wide else (widths[0], widths[1], 26, widths[2] - 27)
    double = _rule(widths, "=")
    titles = ["NPU     Chip" if with_chip else "NPU ID", "Process id", "Process name", "Process memory(MB)"]
    lines = [
        _rule(widths, "-"),
        _row(columns, *titles, *(["Process id in container"] if wide else [])),
        double,
    ]
    for npu in sorted({device.npu_id for device in devices}):
        card = [device for device in devices if device.npu_id == npu]
        if not any(device.processes for device in card):
            lines.append(_row((sum(widths) + 2,), f"No running processes found in NPU {npu}"))
        for device in card:
            for process in device.processes:
                ids = f"{npu:<8}{device.chip_id}" if with_chip else str(npu)
                cells = [ids, str(process.pid), process.name[:15], str(process.memory_bytes >> 20)]
                lines.append(_row(columns, *cells, *(["NA"] if wide else [])))
        lines.append(double)
    return lines


def _map(node: Node, devices: Sequence[AscendDevice]) -> str:
    phy = node.family in ("A3", "950")
    titles = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if phy else []), "Chip Name"]
    rows = [
        [str(d.npu_id), str(d.chip_id), str(d.index), *([str(d.phy_id)] if phy else []), f"Ascend {d.model}"]
        for d in devices
    ]
    return "".join("\t" + "".join(f"{cell:<31}" for cell in row).rstrip() + "\n" for row in [titles, *rows])


def _list(devices: Sequence[AscendDevice]) -> str:
    lines = [f"\t{'Total Count':<30} : {len({d.npu_id for d in devices})}"]
    for device in (d for d in devices if d.chip_id == 0):
        lines += ["", f"\t{'NPU ID':<30} : {device.npu_id}"]
        if device.serial is not None:
            lines.append(f"\t{'Serial Number':<30} : {device.serial}")
        lines.append(f"\t{'Chip Count':<30} : {sum(d.npu_id == device.npu_id for d in devices)}")
    return "\n".join(lines) + "\n"


def _ending(
    keys: Callable[[Node, AscendDevice], list[tuple[str, str]]], width: int = 30, always: bool = True
) -> Callable[[Node, Sequence[AscendDevice]], str]:
    """An answer whose blocks end with `Chip ID`."""

    def text(node: Node, card: Sequence[AscendDevice]) -> str:
        lines = (
            [_pair("NPU ID", str(card[0].npu_id), width), _pair("Chip Count", str(len(card)), width), ""]
            if always
            else []
        )
        for device in card:
            lines += [_pair(key, value, width) for key, value in keys(node, device)]
            if always or len(card) > 1:
                lines.append(_pair("Chip ID", str(device.chip_id), width))
        return "\n".join(lines) + "\n"

    return text


def _beginning(
    keys: Callable[[Node, AscendDevice], list[tuple[str, str]]],
) -> Callable[[Node, Sequence[AscendDevice]], str]:
    """An answer whose blocks begin with `Chip ID`."""

    def text(node: Node, card: Sequence[AscendDevice]) -> str:
        lines = [_pair("NPU ID", str(card[0].npu_id), 30), _pair("Chip Count", str(len(card)), 30), ""]
        for device in card:
            lines.append(_pair("Chip ID", str(device.chip_id), 30))
            lines += [_pair(key, value, 30) for key, value in keys(node, device)]
            lines.append("")
        return "\n".join(lines) + "\n"

    return text


def _health(_node: Node, device: AscendDevice) -> list[tuple[str, str]]:
    codes = " ".join(device.error_codes) or "NA"
    texts = [f"node type=SoC, sensor type=Health, event state={code}" for code in device.error_codes] or ["NA"]
    pairs = [
        ("Health Status", device.health or "UNKNOWN"),
        ("Error Code", codes),
        ("Error Information", texts[0]),
    ]
    return [*pairs, *(("", text) for text in texts[1:])]


def _ecc(node: Node, device: AscendDevice) -> list[tuple[str, str]]:
    memories = {"910": ("DDR", "HBM"), "310": ("DDR",), "310B": ("DDR",), "310P": ("DDR",)}.get(node.family, ("HBM",))
    names = (
        ("Error Count", ""),
        ("Aggregate Total Err Cnt", "_aggregate"),
        ("Isolated Pages Count", "_isolated"),
    )
    return [
        (
            f"{memory} {bit.capitalize()} Bit {title}",
            str(device.ecc.get(f"{memory.lower()}_{bit}{suffix}", 0)),
        )
        for memory in memories
        for title, suffix in names
        for bit in ("single", "double")
    ]


def _common(node: Node, device: AscendDevice) -> list[tuple[str, str]]:
    return [
        ("Memory Usage Rate(%)", "0"),
        ("Aicore Usage Rate(%)", _value(device.utilization_percent, "NA", 0)),
        ("Aicore Freq(MHZ)", "1650"),
        ("Aicore curFreq(MHZ)", str(device.aicore_clock_mhz)),
        ("Aicore Count", str(device.aicore_count)),
        ("Temperature(C)", _value(device.temperature_celsius, "NA", 0)),
        (
            "Rated Power Dissipation(W)" if node.family in ("310", "310P") else "NPU Real-time Power(W)",
            _value(device.power_watts, "NA"),
        ),
    ]


def _usages(_node: Node, device: AscendDevice) -> list[tuple[str, str]]:
    return [
        ("HBM Capacity(MB)", str(device.memory_total_mib)),
        ("HBM Usage Rate(%)", str(100 * device.memory_used_mib // max(device.memory_total_mib, 1))),
        ("Aicore Usage Rate(%)", _value(device.utilization_percent, "NA", 0)),
    ]


def _board(_node: Node, device: AscendDevice) -> list[tuple[str, str]]:
    return [
        ("Software Version", _node.driver),
        ("Firmware Version", device.firmware or "NA"),
        ("Compatibility", "OK"),
        ("PCIe Bus Info", device.pci.upper()),
        ("PCI Vendor ID", "0x19E5"),
    ]


def _memory(_node: Node, device: AscendDevice) -> list[tuple[str, str]]:
    return [
        ("HBM Capacity(MB)", str(device.memory_total_mib)),
        ("HBM Clock Speed(MHz)", str(device.hbm_clock_mhz)),
        ("HBM Temperature(C)", _value(device.memory_temperature_celsius, "NA", 0)),
    ]


def _hccs(_node: Node, card: Sequence[AscendDevice]) -> str:
    links = card[0].links

    def column(values: Sequence[object]) -> str:
        return "[" + "".join(f"{value!s:<20}" for value in values).rstrip() + "]"

    pairs = [
        ("hccs health status ", "OK" if card[0].hccs_healthy else "NOK"),
        ("hccs lane mode ", column([4 for _ in links])),
        ("hccs link lane list ", column(["1111" if link.up else "0000" for link in links])),
        ("hccs link speed ", column([224 for _ in links])),
        ("hccs tx packets ", column([link.packets for link in links])),
        ("hccs rx packets ", column([link.packets for link in links])),
        ("hccs retry count ", column([link.errors.get("retry", 0) for link in links])),
        ("hccs error count ", column([link.errors.get("error", 0) for link in links])),
        ("hccs first error lane ", "NA"),
    ]
    return "".join(_pair(key, value, 30) + "\n" for key, value in pairs)


def _proc_mem(_node: Node, card: Sequence[AscendDevice]) -> str:
    lines = []
    for device in card:
        for process in device.processes:
            lines.append(
                f"\tProcess id:{process.pid} Process name:{process.name:<18}Process memory(MB):{process.memory_bytes >> 20}"
            )
        if not device.processes:
            lines.append("\tNo process in device.")
        lines.append(_pair("Chip ID", str(device.chip_id), 30))
    return "\n".join(lines) + "\n"


QUERIES: dict[str, Callable[[Node, Sequence[AscendDevice]], str]] = {
    "health": _ending(_health, always=False),
    "ecc": _ending(_ecc, 40),
    "usages": _ending(_usages),
    "common": _beginning(_common),
    "board": _beginning(_board),
    "memory": _beginning(_memory),
    "temp": _beginning(lambda _n, d: [("NPU Temperature (C)", _value(d.temperature_celsius, "NA", 0))]),
    "power": _beginning(lambda _n, d: [("NPU Real-time Power(W)", _value(d.power_watts, "NA"))]),
    "hccs": _hccs,
    "proc-mem": _proc_mem,
}


def _pair(key: str, value: str, width: int) -> str:
    return f"\t{key:<{width}} : {value}"


def _row(widths: Sequence[int], *cells: str) -> str:
    return "|" + "|".join(f" {cell:<{width - 1}}" for cell, width in zip(cells, widths, strict=True)) + "|"


def _rule(widths: Sequence[int], mark: str) -> str:
    return "+" + "+".join(mark * width for width in widths) + "+"


def _value(value: float | None, absent: str, digits: int = 1) -> str:
    return absent if value is None else f"{value:.{digits}f}"
