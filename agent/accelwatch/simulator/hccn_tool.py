"""What the simulated `hccn_tool` prints on 910, A2 and A3 (reference/ascend.md section 3); 950: `hccn_tool_950`.

Times are those of the device's clock, which shows the host's local time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from accelwatch.simulator import hccn_tool_950
from accelwatch.simulator.answer import Answer, spoiled
from accelwatch.simulator.state import AscendDevice, Link, Node

_HISTORY_LENGTH = 10
# First three and last four stand as in the capture; the order between them is that of the reference.
_COUNTERS = (
    "mac_tx_mac_pause_num", "mac_rx_mac_pause_num", "mac_tx_pfc_pkt_num",
    *(f"mac_tx_pfc_pri{number}_pkt_num" for number in range(8)),
    "mac_rx_pfc_pkt_num", *(f"mac_rx_pfc_pri{number}_pkt_num" for number in range(8)),
    "mac_tx_total_pkt_num", "mac_tx_total_oct_num", "mac_tx_bad_pkt_num", "mac_tx_bad_oct_num",
    "mac_rx_total_pkt_num", "mac_rx_total_oct_num", "mac_rx_bad_pkt_num", "mac_rx_bad_oct_num",
    "mac_rx_fcs_err_pkt_num", "roce_rx_rc_pkt_num", "roce_rx_all_pkt_num", "roce_rx_err_pkt_num",
    "roce_tx_rc_pkt_num", "roce_tx_all_pkt_num", "roce_tx_err_pkt_num", "roce_cqe_num", "roce_rx_cnp_pkt_num",
    "roce_tx_cnp_pkt_num", "roce_unexpected_ack_num", "roce_out_of_order_num", "roce_verification_err_num",
    "roce_qp_status_err_num", "roce_new_pkt_rty_num", "roce_ecn_db_num", "nic_tx_all_pkg_num", "nic_tx_all_oct_num",
    "nic_rx_all_pkg_num", "nic_rx_all_oct_num",
)  # fmt: skip
_PACKETS = frozenset((
    "mac_tx_total_pkt_num", "mac_rx_total_pkt_num", "roce_rx_rc_pkt_num", "roce_rx_all_pkt_num",
    "roce_tx_rc_pkt_num", "roce_tx_all_pkt_num", "nic_tx_all_pkg_num", "nic_rx_all_pkg_num",
))  # fmt: skip
_PACKET_BYTES = 4096


def answer(node: Node, argv: Sequence[str]) -> Answer:
    """The answer to `hccn_tool <argv>`; refusals stand on standard error."""
    return spoiled(_answer(node, list(argv)), node.hccn_tool_trouble, argv)


def _answer(node: Node, words: Sequence[str]) -> Answer:
    if node.family == "950":
        return hccn_tool_950.answer(node, words)
    if len(words) != 4 or words[0] != "-i" or words[3] != "-g":
        return Answer("", "Command execute failed!\n", 1)
    device = next((one for one in node.ascend if one.present and str(one.phy_id) == words[1]), None)
    if device is None or device.roce is None:
        return Answer("", "The device is not exist!\n", 1)
    query = _QUERIES.get(words[2].removeprefix("-"))
    if query is None:
        return Answer("", "Command execute failed!\n", 1)
    return Answer(query(node, device, device.roce))


def _link(_node: Node, _device: AscendDevice, port: Link) -> str:
    return f"link status: {'UP' if port.up else 'DOWN'}\n"


def _link_stat(node: Node, device: AscendDevice, port: Link) -> str:
    lines = [f"current time        : {asctime(node.wall)}", f"link up count       : {port.ups}"]
    # 23.x counts only how often it came up.
    if not node.driver.startswith(("21.", "22.", "23.")):
        lines.append(f"link down count     : {port.drops}")
    lines.append("link change records :" if port.history else "link change records : NA")
    for at, up in reversed(port.history[-_HISTORY_LENGTH:]):
        lines.append(f"    {asctime(node.wall - node.now + at)}    LINK {'UP' if up else 'DOWN'}")
    return "".join(f"[devid {device.phy_id}]{line}\n" for line in lines)


def _speed(_node: Node, _device: AscendDevice, port: Link) -> str:
    return f"Speed: {port.speed_gbps * 1000:.0f} Mb/s\n" if port.up else "Speed: Unknown!\n"


def _stat(_node: Node, _device: AscendDevice, port: Link) -> str:
    """Counters that the state does not name follow what the port has sent and received."""
    counters = {name: port.packets if name in _PACKETS else 0 for name in _COUNTERS}
    for name in ("mac_tx_total", "mac_rx_total", "nic_tx_all", "nic_rx_all"):
        counters[f"{name}_oct_num"] = port.packets * _PACKET_BYTES
    return "packet statistics:\n" + "".join(f"{key}:{value}\n" for key, value in (counters | port.errors).items())


def _address(_node: Node, device: AscendDevice, _port: Link) -> str:
    return f"ipaddr:{_network(device)}.{10 + device.phy_id // 8}\nnetmask:255.255.255.0\n"


def _gateway(_node: Node, device: AscendDevice, _port: Link) -> str:
    return f"default gateway:{_network(device)}.1, Iface:eth0\n"


def _network(device: AscendDevice) -> str:
    # From the range set aside for benchmarks (RFC 2544), so nobody's host: one network per rail.
    return f"198.18.{device.phy_id % 8}"


def _tls(_node: Node, device: AscendDevice, _port: Link) -> str:
    return (
        f"dev_id:{device.phy_id}, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), "
        "tls alarm time threshold[60]days\n"
    )


def _process(_node: Node, device: AscendDevice, _port: Link) -> str:
    return f"device hccp process: {'exist' if device.processes else 'not exist'}\n"


def _optical(_node: Node, device: AscendDevice, _port: Link) -> str:
    if not device.optical_present:
        return "Optical module is not present.\n"
    lanes = list(zip(device.tx_power_milliwatts, device.rx_power_milliwatts, strict=True))
    # Below its threshold of 0.1445 mW a lane has lost its signal: its bit is set.
    lost = sum(1 << lane for lane, (_, received) in enumerate(lanes) if received < 0.1445)
    pairs = [
        ("present", "present"),
        ("temperature", f"{device.optical_temperature_celsius:.0f} C"),
        ("high power enable reg", "enabled"),
        ("vendor name", "Simulated"),
        ("vendor part number", "SIM-QSFP-200G"),
        ("vendor serial number", f"SIM{device.phy_id:08d}"),
        ("vendor org unique id", "0x0 0x0 0x0"),
        ("xsfp identifier", "QSFP+ or later"),
        ("xsfp wave length", "850 nm"),
        ("manufact date code", "2023.6.18"),
        ("Vcc", "3262.90 mV"),
    ]
    for lane, (sent, received) in enumerate(lanes):
        pairs += [(f"Tx Power{lane}", f"{sent:.4f} mW"), (f"Rx Power{lane}", f"{received:.4f} mW")]
    pairs += [
        ("Vcc High Thres", "3465.00 mV"), ("Vcc Low Thres", "3135.00 mV"), ("Temp High Thres", "70 C"),
        ("Temp Low Thres", "0 C"), ("TxPower High Thres", "3.5481 mW"), ("TxPower Low Thres", "0.2818 mW"),
        ("RxPower High Thres", "3.5481 mW"), ("RxPower Low Thres", "0.1445 mW"),
        *((f"Tx Bias{lane}", "7.9360 mA") for lane in range(len(lanes))),
        ("Tx Los Flag", "0x0"), ("Rx Los Flag", f"0x{lost:x}"), ("Tx LoL Flag", "0x0"), ("Rx LoL Flag", f"0x{lost:x}"),
        *((f"Host SNR Lane{lane}", "not supported") for lane in range(len(lanes))),
        *((f"Media SNR Lane{lane}", "23.1211 dB") for lane in range(len(lanes))),
    ]  # fmt: skip
    return "optical info:\n" + "".join(f"{key:<21}: {value}\n" for key, value in pairs)


_QUERIES: dict[str, Callable[[Node, AscendDevice, Link], str]] = {
    "link": _link,
    "link_stat": _link_stat,
    "net_health": lambda _node, device, _port: f"net health status: {device.net_health}\n",
    "speed": _speed,
    "fec": lambda _node, device, _port: f"fec mode: {device.fec}\n",
    "stat": _stat,
    "optical": _optical,
    "ip": _address,
    "gateway": _gateway,
    "tls": _tls,
    "process": _process,
}


def asctime(seconds: float) -> str:
    """Seconds since the epoch on the device's clock."""
    return time.asctime(time.localtime(seconds))
