"""The answers of `npu-smi` about all cards at once: `-m`, `-l` and `-t topo` (reference/ascend.md section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

from accelwatch.simulator.state import AscendDevice, Node


def pair(key: str, value: object, width: int = 30) -> str:
    """One line."""
    return f"\t{key:<{width}} : {value}\n"


def chip_map(node: Node, devices: Sequence[AscendDevice]) -> str:
    """`-m`: columns of 30 characters and a blank."""
    phy = node.family == "A3"
    if node.family == "950":
        titles = ["NPU ID", "Slot ID", "Chip ID", "Chip Phy-ID", "Chip Name"]
    else:
        titles = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if phy else []), "Chip Name"]
    lines = [titles]
    for device in devices:
        if node.family == "950":
            ids = [device.npu_id, device.npu_id, device.chip_id, device.phy_id]
        else:
            ids = [device.npu_id, device.chip_id, device.index, *([device.phy_id] if phy else [])]
        lines.append([*map(str, ids), _chip_name(device)])
    return "".join("\t" + "".join(f"{cell:<31}" for cell in line).rstrip() + "\n" for line in lines)


def _chip_name(device: AscendDevice) -> str:
    return device.model if device.model.startswith("Ascend") else f"Ascend {device.model}"


def card_list(node: Node, devices: Sequence[AscendDevice]) -> str:
    """`-l`."""
    cards = list(dict.fromkeys(device.npu_id for device in devices))
    if not cards:
        return "There is no NPU card on this server.\n"
    text = pair("Card Count" if node.family in ("310", "310B") else "Total Count", len(cards))
    for npu in cards:
        card = [device for device in devices if device.npu_id == npu]
        text += "\n" + pair("NPU ID", npu)
        if node.family == "950":
            text += pair("Product Name", card[0].model)
        if card[0].serial is not None:
            text += pair("Serial Number", card[0].serial)
        if node.family != "950":
            text += pair("Chip Count", len(card))
    return text


def topology(node: Node, devices: Sequence[AscendDevice]) -> str:
    """`-t topo`: how each pair is connected, and the CPUs near each."""
    names = [f"Phy-ID{d.phy_id}" if node.family == "A3" else f"NPU{d.npu_id}" for d in devices]
    between = {"910B": "HCCS", "A3": "HCCS_SW"}.get(node.family, "SYS")

    def cell(one: AscendDevice, other: AscendDevice) -> str:
        if one is other:
            return "X"
        return "SIO" if one.npu_id == other.npu_id and node.family in ("A3", "950") else between

    lines = ["".join(f"{name:<11}" for name in ["", *names]) + "CPU Affinity"]
    for place, device in enumerate(devices):
        near = f"{24 * (place % 8)}-{24 * (place % 8) + 23}"
        cells = [names[place], *(cell(device, other) for other in devices)]
        lines.append("".join(f"{text:<11}" for text in cells) + near)
    legend = [
        "Legend:", "", "  X    = Self",
        "  SYS  = Path traversing PCIe and NUMA nodes. Nodes are connected through SMP, such as QPI, UPI.",
        "  PHB  = Path traversing PCIe and the PCIe host bridge of a CPU.",
        "  PIX  = Path traversing a single PCIe switch", "  PXB  = Path traversing multipul PCIe switches",
        "  HCCS = Connection traversing HCCS.", "  NA   = Unknown relationship.",
    ]  # fmt: skip
    return "\n".join([*lines, "", *legend]) + "\n"
