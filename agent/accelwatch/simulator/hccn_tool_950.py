"""What the simulated `hccn_tool` prints on 950: `-g -<what> -i <NPU ID> -u <udie> -p <port>`, mostly tables.

Layouts from the driver's documents for 950 (reference/ascend.md section 3). A simulated chip has one UB port.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from accelwatch.simulator.answer import Answer
from accelwatch.simulator.state import AscendDevice, Link, Node

UDIE, PORT = 0, 4
_HISTORY_LENGTH = 10
_COUNTERS = (
    "is_uboe_port", "ub_glb_ipv4_pkt_cnt_rx", "ub_glb_ipv6_pkt_cnt_rx", "unic_ipv4_pkt_cnt_rx",
    "unic_ipv6_pkt_cnt_rx", "ub_clan_pkt_cnt_rx", "ub_umoc_ctph_cnt_rx", "ub_umoc_ntph_cnt_rx", "ub_mem_pkt_cnt_rx",
    "unknown_pkt_cnt_rx", "drop_ind_cnt_rx", "err_ind_cnt_rx", "to_host_pkt_cnt_rx", "to_imp_pkt_cnt_rx",
    "to_mar_pkt_cnt_rx", "to_link_pkt_cnt_rx", "to_noc_pkt_cnt_rx", "route_err_cnt_rx", "out_err_cnt_rx",
    "length_err_cnt_rx", "rx_busi_flit_num", "rx_send_ack_flit", "ub_glb_ipv4_pkt_cnt_tx", "ub_glb_ipv6_pkt_cnt_tx",
    "unic_ipv4_pkt_cnt_tx", "unic_ipv6_pkt_cnt_tx", "ub_clan_pkt_cnt_tx", "ub_umoc_ctph_cnt_tx",
    "ub_umoc_ntph_cnt_tx", "ub_mem_pkt_cnt_tx", "unknown_pkt_cnt_tx", "drop_ind_cnt_tx", "err_ind_cnt_tx",
    "lpbk_ind_cnt_tx", "out_err_cnt_tx", "length_err_cnt_tx", "tx_busi_flit_num", "tx_recv_ack_flit", "retry_req_sum",
    "retry_ack_sum", "crc_error_sum",
)  # fmt: skip


def answer(node: Node, words: Sequence[str]) -> Answer:
    """The answer to `hccn_tool <words>`; troubles are applied by the caller."""
    failed = Answer("", "Command execute failed!\n", 1)
    if len(words) < 4 or words[0] != "-g" or len(words) % 2:
        return failed
    options = dict(zip(words[2::2], words[3::2], strict=True))
    device = next((one for one in node.ascend if one.present and str(one.npu_id) == options.get("-i")), None)
    if device is None or device.roce is None:
        return Answer("", "The device is not exist!\n", 1)
    what = words[1].removeprefix("-")
    if what == "dev_info" and options.keys() == {"-i"}:
        return Answer(_dev_info(device, device.roce))
    query = _QUERIES.get(what)
    if query is None or (options.get("-u"), options.get("-p")) != (str(UDIE), str(PORT)):
        return failed
    return Answer(query(node, device, device.roce))


def _table(widths: Sequence[int], titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "+" + "+".join("-" * width for width in widths) + "+\n"
    lines = [
        "|" + "|".join(f" {cell:<{width - 1}}" for cell, width in zip(cells, widths, strict=True)) + "|\n"
        for cells in (titles, *rows)
    ]
    return rule + lines[0] + rule + "".join(lines[1:]) + rule


def _dev_info(device: AscendDevice, port: Link) -> str:
    """The ports, then the interfaces of the chip."""
    ports = _table(
        (9, 9, 21, 11, 13, 12),
        ("UDie ID", "Port ID", "Speed Ability(Gbps)", "Port Type", "Link Status", "Media Type"),
        [(str(UDIE), str(PORT), "400", "UB", "UP" if port.up else "DOWN", "Electrical")],
    )
    interfaces = _table(
        (17, 44, 44, 11, 17),
        ("Interface Name", "IP Address", "Netmask", "Bond Mode", "Slaves"),
        [("end0v0", f"198.18.2.{10 + device.phy_id}", "255.255.255.0", "NA", "NA")],
    )
    return ports + interfaces


def _link_stat(node: Node, device: AscendDevice, port: Link) -> str:
    rows = [
        (
            f" {device.npu_id}", f" {UDIE}", f" {PORT}", f" {'LINK_UP' if up else 'LINK_DOWN'}",
            # Unlike asctime, a day below ten takes one place here.
            " ".join(time.asctime(time.localtime(node.wall - node.now + at)).split()),
        )
        for at, up in reversed(port.history[-_HISTORY_LENGTH:])
    ]  # fmt: skip
    table = _table((5, 6, 6, 13, 25), ("NPU", "UDie", "Port", "Link_Status", "Time_Stamp"), rows)
    return f"link up count :    {port.ups}\nlink down count :  {port.drops}\n{table}"


def _speed(_node: Node, device: AscendDevice, port: Link) -> str:
    return _table(
        (5, 6, 6, 9, 5, 7, 11),
        ("NPU", "UDie", "Port", "Speed", "Cap", "Width", "Status"),
        [(str(device.npu_id), str(UDIE), str(PORT), "400 G", "X4", "X4", "normal" if port.up else "abnormal")],
    )


def _fec(_node: Node, device: AscendDevice, _port: Link) -> str:
    return _table(
        (5, 6, 6, 9, 18, 12),
        ("NPU", "UDie", "Port", "rs_mode", "auto_change_mode", "itlv_mode"),
        [(str(device.npu_id), str(UDIE), str(PORT), "128 T4", "Static", "Interweave")],
    )


def _stat(_node: Node, _device: AscendDevice, port: Link) -> str:
    counters = {"port_id": PORT} | dict.fromkeys(_COUNTERS, 0)
    counters |= {"rx_busi_flit_num": port.packets, "tx_busi_flit_num": port.packets} | port.errors
    return "packet statistics:\n" + "".join(f"{key}: {value}\n" for key, value in counters.items())


def _port_info(_node: Node, _device: AscendDevice, port: Link) -> str:
    """The lines that tell of the link; the tool prints more of its inner state."""
    link = "link" if port.up else "unlink"
    return (
        f"port_id: 0x{PORT:x}\n======================= UB PORT LINK INFO =======================\n"
        "target_speed: LANE_400G_X4\nspeed_ability: 400Gbps\nlane_num: X4\nfec: FEC RS\n"
        f"port_usage: used\nport_enable: on\nport_link: {link}\n"
        "======================== UB DLPHY INFO ==========================\n"
        f"port_en: on\ndl_link: {link}\nphy_link: {link}\n"
    )


def _bit_errors(_node: Node, _device: AscendDevice, port: Link) -> str:
    names = ("st_fec_decoding_fail_num", "st_fec_err_bit_num")
    return f"-------------------------- dl-bit_err --------------------------\nport_id: 0x{PORT:x}\n" + "".join(
        f"{name}: 0x{port.errors.get(name, 0):x}\n" for name in names
    )


_QUERIES: dict[str, Callable[[Node, AscendDevice, Link], str]] = {
    "link_stat": _link_stat,
    "speed": _speed,
    "fec": _fec,
    "stat": _stat,
    "port_info": _port_info,
    "bit_err": _bit_errors,
}
