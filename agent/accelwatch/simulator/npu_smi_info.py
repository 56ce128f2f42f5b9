"""The table of `npu-smi info`, in the layout of the tool's version and the chip's family.

Widths are those of the captures (reference/ascend.md section 2.1). 310 and 310P print no HBM; first-generation 910,
910B (A2) and A3 print DDR and HBM; 950 has four cells and no chip id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelwatch.simulator.state import AscendDevice, Node, Process

DDR_ONLY = ("310", "310B", "310P")
# The kernel keeps so much of a process name (comm), and the tool prints that.
NAME_LENGTH = 15


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths in characters; a cell's width counts its blanks, not its bars."""

    cells: tuple[int, ...]  # of a chip's rows
    banner: int  # of the tool's version before `Version:`
    power: int  # first column of the last cell
    temperature: int  # second column of the last cell
    hugepages: int | None  # of the used pages before the slash; `None`: no such column
    process: tuple[int, ...] = ()  # cells of the process table: five where it has the process id in container


# DDR only: 21.x, 22.x, and from 23.0 on.
_DDR_21 = Layout((19, 17, 40), 29, 18, 18, None, (19, 17, 20, 19))
_DDR_22 = Layout((19, 17, 54), 29, 13, 18, 5, (19, 17, 26, 27))
_DDR_23 = Layout((31, 17, 54), 41, 13, 18, 6, (31, 17, 26, 27))
# DDR and HBM: 21.x, from 22.x to early 23.0, 23.0.2 to 25.x, and from 26 on.
_HBM_21 = Layout((22, 15, 45), 25, 11, 18, None, (22, 15, 22, 22))
_HBM_22 = Layout((22, 15, 52), 25, 12, 18, 5, (22, 15, 26, 25))
_HBM_23 = Layout((27, 15, 52), 25, 12, 18, 5, (27, 15, 26, 25))
_HBM_26 = Layout((27, 15, 70), 36, 21, 24, 5, (27, 15, 20, 23, 25))
_950 = Layout((8, 18, 15, 70), 36, 22, 25, 6, (27, 15, 20, 23, 25))


def layout_of(family: str, tool: str) -> Layout:
    """By the version of the tool, such as 23.0.2.1 or 24.1.rc1."""
    version = version_of(tool)
    if family == "950":
        return _950
    if family in DDR_ONLY:
        return _DDR_21 if version < (22,) else _DDR_22 if version < (23,) else _DDR_23
    if version < (22,):
        return _HBM_21
    if version < (23, 0, 2):
        return _HBM_22
    return _HBM_23 if version < (26,) else _HBM_26


def version_of(tool: str) -> tuple[int, ...]:
    """For comparing: a release candidate's part counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in tool.split("."))


def table(node: Node, devices: Sequence[AscendDevice]) -> str:
    """The whole output for the devices that answer, in their order."""
    layout = layout_of(node.family, node.tool)
    whole = sum(layout.cells) + len(layout.cells) - 1
    # 950 rules below its chips off as its process table.
    double = rule(_below(layout), "=")
    lines = [
        rule((whole,), "-"),
        row((whole,), f"npu-smi {node.tool:<{layout.banner}}Version: {node.driver}"),
        rule(layout.cells, "-"),
        *_titles(node.family, layout),
        rule(layout.cells, "="),
    ]
    for number, device in enumerate(devices):
        lines += _chip(node.family, device, layout)
        more = number + 1 < len(devices) and devices[number + 1].npu_id == device.npu_id
        lines.append(rule((whole,), "-") if more else double)
    if node.process_table:
        lines += _processes(node.family, devices, layout)
    return "\n".join(lines) + "\n"


def rule(widths: Sequence[int], mark: str) -> str:
    """A line between rows."""
    return "+" + "+".join(mark * width for width in widths) + "+"


def row(widths: Sequence[int], *cells: str) -> str:
    """A line of cells; one that is too long moves its bar, as it does in the tool."""
    return "|" + "|".join(f" {cell:<{width - 1}}" for cell, width in zip(cells, widths, strict=True)) + "|"


def _below(layout: Layout) -> tuple[int, ...]:
    first, second, *others = layout.process
    return (first, second, sum(others) + len(others) - 1)


def _titles(family: str, layout: Layout) -> list[str]:
    hugepages = "" if layout.hugepages is None else "Hugepages-Usage(page)"
    above = f"{'Power(W)':<{layout.power}}{'Temp(C)':<{layout.temperature}}{hugepages}"
    if family == "950":
        below = f"{'NPU Util(%)':<{layout.power}}{'Memory-Usage(MB)':<{layout.temperature}}HBM-Usage(MB)"
        return [row(layout.cells, "NPU ID", "Name", "Health", above), row(layout.cells, "", "", "Bus-Id", below)]
    below = f"{'AICore(%)':<{layout.power}}{'Memory-Usage(MB)':<{layout.temperature}}"
    if family in DDR_ONLY:
        beside, name = "Chip    Device", "NPU     Name"
    else:
        beside, name = "Chip  Phy-ID" if family == "A3" else "Chip", "NPU   Name"
        below += "HBM-Usage(MB)"
    return [
        row(layout.cells, name, "Health", above),
        row(layout.cells, beside, "Bus-Id", below.rstrip()),
    ]


def _chip(family: str, device: AscendDevice, layout: Layout) -> list[str]:
    # Power is the NPU's, printed with its first die.
    power = "-" if family == "A3" and device.chip_id else number(device.power_watts, 1)
    temperature, utilization = number(device.temperature_celsius), number(device.utilization_percent)
    hugepages = ""
    if layout.hugepages is not None:
        hugepages = f"{device.hugepages_used:<{layout.hugepages}}/ {device.hugepages_total}"
    above = f"{power:<{layout.power}}{temperature:<{layout.temperature}}{hugepages}"
    width = 6 if family == "950" else 5
    memory = f"{device.memory_used_mib:<{width}}/ {device.memory_total_mib}"
    if family not in DDR_ONLY:
        ddr = f"{device.ddr_used_mib:<{width}}/ {device.ddr_total_mib}"
        memory = f"{ddr:<{layout.temperature}}{memory}"
    below = f"{utilization:<{layout.power}}{memory}"
    # 310 and 310B sit behind no PCIe address that the tool would print.
    bus = "NA" if family in ("310", "310B") or not device.pci else device.pci.upper()
    if family == "950":
        first = row(layout.cells, str(device.npu_id), device.model, device.health, above)
        second = row(layout.cells, "", "", bus, below)
    else:
        gap = 8 if family in DDR_ONLY else 6
        beside = device.index if family in DDR_ONLY else device.phy_id if family == "A3" else ""
        first = row(layout.cells, f"{device.npu_id:<{gap}}{device.model}", device.health, above)
        second = row(layout.cells, f"{device.chip_id:<{gap}}{beside}", bus, below)
    return [first, second] if device.health else [second]


def _processes(family: str, devices: Sequence[AscendDevice], layout: Layout) -> list[str]:
    below = _below(layout)
    titles = ["NPU ID" if family == "950" else "NPU     Chip", "Process id", "Process name", "Process memory(MB)"]
    if len(layout.process) > len(titles):
        titles.append("Process id in container")
    lines = [rule(below, "-"), row(layout.process, *titles), rule(below, "=")]
    for npu in dict.fromkeys(device.npu_id for device in devices):
        card = [device for device in devices if device.npu_id == npu]
        if not any(device.processes for device in card):
            lines.append(row((sum(below) + 2,), f"No running processes found in NPU {npu}"))
        for device in card:
            ids = str(npu) if family == "950" else f"{npu:<8}{device.chip_id}"
            lines += [_process(ids, process, layout) for process in device.processes]
        lines.append(rule(below, "="))
    return lines


def _process(ids: str, process: Process, layout: Layout) -> str:
    cells = [ids, str(process.pid), process.name[:NAME_LENGTH], str(process.memory_bytes >> 20)]
    if len(layout.process) > len(cells):
        cells.append("NA")
    return row(layout.process, *cells)


def number(value: float | None, digits: int = 0) -> str:
    """As the tool prints it: `NA` where the device does not say."""
    return "NA" if value is None else f"{value:.{digits}f}"
