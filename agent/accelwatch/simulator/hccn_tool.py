"""What the simulated `hccn_tool` prints on A2 and A3, and on 950 (reference/ascend.md section 3)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from accelwatch.simulator.npu_smi import Answer
from accelwatch.simulator.state import AscendDevice, Link, Node


def answer(node: Node, argv: Sequence[str]) -> Answer:
    """The answer to `hccn_tool <argv>`."""
    words = list(argv)
    queries = [w for w in words if w.startswith("-") and w not in ("-i", "-g", "-u", "-p")]
    if "-i" not in words or len(queries) != 1:
        return Answer("", 1, "Cmd execute failed!\n")
    number = words[words.index("-i") + 1]
    is_950 = node.family == "950"
    devices = [d for d in node.ascend if d.present and str(d.index if is_950 else d.phy_id) == number]
    if not devices or devices[0].roce is None:
        return Answer("", 1, "The device is not exist!\n")
    query = queries[0].removeprefix("-")
    printed = (_print_950 if is_950 else _print)(node, devices[0], devices[0].roce, query)
    return Answer("", 1, "Command execute failed!\n") if printed is None else Answer(printed)


def _print(node: Node, device: AscendDevice, port: Link, query: str) -> str | None:
    if query == "link":
        return f"link status: {'UP' if port.up else 'DOWN'}\n"
    if query == "link_stat":
        return _link_stat(node, device, port)
    if query == "net_health":
        return f"net health status: {device.net_health}\n"
    if query == "speed":
        return f"Speed: {port.speed_gbps * 1000:.0f} Mb/s\n" if port.up else "Speed: Unknown!\n"
    if query == "fec":
        return f"fec mode: {device.fec}\n"
    if query == "stat":
        counters = {
            "mac_tx_total_pkt_num": port.packets, "mac_rx_total_pkt_num": port.packets, "mac_rx_bad_pkt_num": 0,
            "mac_rx_fcs_err_pkt_num": 0, "roce_rx_err_pkt_num": 0, "roce_tx_err_pkt_num": 0, "roce_out_of_order_num": 0,
            "roce_new_pkt_rty_num": 0,
        } | port.errors  # fmt: skip
        return "packet statistics:\n" + "".join(f"{key}:{value}\n" for key, value in counters.items())
    return _optical(device) if query == "optical" else None


def _link_stat(node: Node, device: AscendDevice, port: Link) -> str:
    prefix = f"[devid {device.phy_id}]"
    lines = [
        f"{prefix}current time        : {_asctime(node.wall)}",
        f"{prefix}link up count       : {port.ups}",
    ]
    if not node.driver.startswith(("22.", "23.")):
        lines.append(f"{prefix}link down count     : {port.drops}")
    if not port.history:
        lines.append(f"{prefix}link change records : NA")
        return "\n".join(lines) + "\n"
    lines.append(f"{prefix}link change records :")
    for at, up in reversed(port.history[-10:]):
        lines.append(f"{prefix}    {_asctime(node.wall - node.now + at)}    LINK {'UP' if up else 'DOWN'}")
    return "\n".join(lines) + "\n"


def _print_950(node: Node, _device: AscendDevice, port: Link, query: str) -> str | None:
    if query == "dev_info":
        rule = "+---------+---------+---------------------+-----------+-------------+------------+"
        return (
            f"{rule}\n| UDie ID | Port ID | Speed Ability(Gbps) | Port Type | Link Status | Media Type |\n{rule}\n"
            f"| 0       | 4       | 400                 | UB        | {'UP' if port.up else 'DOWN':<11} | Electrical |\n{rule}\n"
        )
    if query == "link_stat":
        rule = "+-----+------+------+-------------+-------------------------+"
        rows = "".join(
            f"|  0  |  0   |  4   |  {'LINK_UP' if up else 'LINK_DOWN':<9}  | {_asctime(node.wall - node.now + at)} |\n"
            for at, up in reversed(port.history[-10:])
        )
        head = "| NPU | UDie | Port | Link_Status | Time_Stamp              |"
        return f"link up count :    {port.ups}\nlink down count :  {port.drops}\n{rule}\n{head}\n{rule}\n{rows}{rule}\n"
    if query == "stat":
        counters = {
            "port_id": 4,
            "rx_busi_flit_num": port.packets,
            "tx_busi_flit_num": port.packets,
            "crc_error_sum": 0,
        }
        return "packet statistics:\n" + "".join(f"{k}: {v}\n" for k, v in (counters | port.errors).items())
    return None


def _optical(device: AscendDevice) -> str:
    if not device.optical_present:
        return "Optical module is not present.\n"
    pairs = [
        ("present", "present"),
        ("temperature", f"{device.optical_temperature_celsius:.0f} C"),
        ("vendor name", "Hisense"),
    ]
    pairs.append(("Vcc", "3262.90 mV"))
    for lane, (tx, rx) in enumerate(zip(device.tx_power_milliwatts, device.rx_power_milliwatts, strict=True)):
        pairs += [(f"Tx Power{lane}", f"{tx:.4f} mW"), (f"Rx Power{lane}", f"{rx:.4f} mW")]
    pairs += [("RxPower Low Thres", "0.1445 mW"), ("Tx Los Flag", "0x0"), ("Rx Los Flag", "0x0")]
    return "optical info:\n" + "".join(f"{key:<21}: {value}\n" for key, value in pairs)


def _asctime(seconds: float) -> str:
    return time.asctime(time.localtime(seconds))
