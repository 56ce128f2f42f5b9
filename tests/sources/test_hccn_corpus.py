"""Every capture of hccn_tool is read to the values that stand in it."""

from __future__ import annotations

import calendar
import re
from pathlib import Path

import pytest

from accelwatch.readings.link import LinkState, Optics
from accelwatch.sources import hccn_950 as unified_bus
from accelwatch.sources import hccn_network as network
from accelwatch.sources import hccn_outputs as outputs
from accelwatch.sources.hccn_optics import parse_optical
from support import CORPUS, corpus

COMMAND = re.compile(r"^\S*hccn_tool -i (\d+) -\w+ -g\n", re.MULTILINE)


def text(name: str) -> str:
    return corpus("ascend", "hccn_tool", f"{name}.txt")


def by_device(name: str) -> dict[int, str]:
    """A file in which each answer stands below its command."""
    _, *parts = COMMAND.split(text(name))
    return {int(device): answer for device, answer in zip(parts[::2], parts[1::2], strict=True)}


def at(day: int, month: int, year: int, clock: str) -> float:
    hour, minute, second = map(int, clock.split(":"))
    return float(calendar.timegm((year, month, day, hour, minute, second)))


def bandwidth_950() -> None:
    assert network.parse_bandwidth(text("bandwidth_950")) == network.Bandwidth(0.0, 266.84)


def bit_err_950() -> None:
    assert unified_bus.parse_bit_errors(text("bit_err_950")) == unified_bus.BitErrors(
        4, {"st_fec_decoding_fail_num": 4, "st_fec_err_bit_num": 0x3868275F}
    )


def dev_info_950() -> None:
    printed = text("dev_info_950")
    assert unified_bus.parse_ports(printed) == [
        unified_bus.Port(0, port, True, 400, "UB", "Electrical") for port in (4, 5, 6)
    ]
    prefix = "ffff:ffff:ffff:ffff::"
    assert unified_bus.parse_interfaces(printed) == (
        unified_bus.Interface("end0v0", (("192.168.2.199", "255.255.255.0"),)),
        unified_bus.Interface("ipourma0", tuple((f"::10:0:dfdf:{end}", prefix) for end in (51, 30, 28, 20))),
    )
    eids = tuple(f"0000:0000:0000:0000:0010:0000:dfdf:00{end}" for end in (20, 28, 30, 51))
    assert unified_bus.parse_eids(printed) == {"udma1": eids}


def fec_none() -> None:
    assert outputs.parse_fec(text("fec_none")) == "no FEC mode"


def ip_8dev() -> None:
    addresses = [
        "192.1.45.172", "192.2.167.33", "192.3.103.252", "192.4.166.202",
        "192.1.157.81", "192.2.8.198", "192.3.26.213", "192.4.32.120",
    ]  # fmt: skip
    found = {device: network.parse_ip(answer) for device, answer in by_device("ip_8dev").items()}
    assert found == {device: network.Address(address, "255.255.0.0") for device, address in enumerate(addresses)}


def ip_missing_on_npu2() -> None:
    found = {device: network.parse_ip(answer) for device, answer in by_device("ip_missing_on_npu2").items()}
    assert found == {
        0: network.Address("192.161.200.10", "255.255.255.0"),
        1: network.Address("192.161.201.10", "255.255.255.0"),
        2: None,
    }


def link_doc() -> None:
    assert outputs.parse_link(text("link_doc")) is LinkState.UP


def link_stat_950() -> None:
    moments = [("21:45:51", True), ("21:45:47", False), ("21:43:04", True), ("21:42:59", False)]
    assert outputs.parse_link_stat(text("link_stat_950")) == outputs.LinkHistory(
        ups=2, drops=2, changes=None, records=tuple((at(9, 2, 2026, clock), up) for clock, up in moments)
    )
    assert outputs.parse_last_change(text("link_stat_950")) is True


def link_stat_doc_device() -> None:
    history = outputs.parse_link_stat(text("link_stat_doc_device"))
    assert history is not None
    assert (history.ups, history.drops) == (2, None)
    assert [(c.seconds_ago, c.up) for c in history.changes or ()] == [(63376, True), (63378, False), (63393, True)]


def link_stat_up_23() -> None:
    history = outputs.parse_link_stat(text("link_stat_up_23"))
    assert history is not None
    assert (history.ups, history.drops) == (2, None)
    assert [(c.seconds_ago, c.up) for c in history.changes or ()] == [(44746, True), (44746, False), (44760, True)]


def net_health_doc() -> None:
    assert outputs.parse_net_health(text("net_health_doc")) == (True, "Init")


def optical_4lane() -> None:
    assert parse_optical(text("optical_4lane")) == Optics(
        present=False,
        temperature_celsius=47,
        voltage_volts=pytest.approx(3.2629),
        tx_power_milliwatts=(4.4035, 1.3968, 1.4140, 1.4988),
        rx_power_milliwatts=(1.0189, 0.0054, 0.9907, 1.0213),
        rx_power_low_milliwatts=0.1445,
        tx_power_low_milliwatts=0.2818,
        rx_loss_of_signal=0xFF,
        tx_loss_of_signal=0,
        vendor="Hisense",
        serial="V8BD6H25033",
    )


def ping_910B4() -> None:
    assert network.parse_ping(text("ping_910B4")) == network.Ping(3, 3, 0.0, (0.181, 0.055, 0.048))


def port_info_950() -> None:
    info = unified_bus.parse_port_info(text("port_info_950"))
    assert info is not None
    assert info.port == 4
    link, physical = info.sections["UB PORT LINK INFO"], info.sections["UB DLPHY INFO"]
    assert len(link) == 12
    assert (link["target_speed"], link["speed_ability"], link["fec"]) == ("LANE_400G_X4", "400Gbps", "FEC RS")
    assert (link["port_link"], link["port_mode"], link["link_down_err"]) == ("link", "PORT_MODE_SHARED", "0x302")
    assert link["link_state"].split()[:4] == ["0x0003", "0x7310", "0x5002", "0x0000"]
    assert len(physical) == 21
    assert (physical["fec"], physical["sds_rate"]) == ("FEC Mode 1 RS (128, 120,T=4)", "106.25G")
    assert (physical["dl_link"], physical["lstm_state"]) == ("link", "LINK_ACTIVE")
    assert (physical["fec_err"], physical["retry_cnt"]) == ("0x841876", "0x0")
    assert physical["dl_link_fsm"] == "Initialization succeeded."


def route_910B4() -> None:
    assert network.parse_routes(text("route_910B4")) == (
        network.Route("default", "10.0.0.1", "0.0.0.0", "UG", "eth0"),
        network.Route("10.0.0.0", None, "255.255.255.0", "U", "eth0"),
        network.Route("127.0.0.1", None, "255.255.255.255", "UH", "lo"),
        network.Route("192.168.1.0", None, "255.255.255.0", "U", "end0v0"),
        network.Route("192.168.2.0", None, "255.255.255.0", "U", "end0v0"),
    )


def speed_950() -> None:
    assert outputs.parse_speed(text("speed_950")) == 400e9


def stat_8dev_before() -> None:
    found = {device: outputs.parse_stat(answer) for device, answer in by_device("stat_8dev_before").items()}
    assert found == dict.fromkeys(range(8), ({"roce_rx_err_pkt_num": 0, "roce_tx_err_pkt_num": 0}, None))


def stat_950() -> None:
    errors, flits = outputs.parse_stat(text("stat_950"))
    assert flits == 0
    assert errors == dict.fromkeys(
        (
            "err_ind_cnt_rx", "route_err_cnt_rx", "out_err_cnt_rx", "length_err_cnt_rx", "err_ind_cnt_tx",
            "out_err_cnt_tx", "length_err_cnt_tx", "retry_req_sum", "retry_ack_sum", "crc_error_sum",
        ),
        0,
    )  # fmt: skip


def stat_doc_cut() -> None:
    assert outputs.parse_stat(text("stat_doc_cut")) == ({"roce_qp_status_err_num": 0}, 122404 + 6414803)


def tls_doc() -> None:
    assert network.parse_tls(text("tls_doc")) == network.Tls(0, False, True, 60)


def vnic_950() -> None:
    assert network.parse_vnic(text("vnic_950")) == network.Vnic(LinkState.UP, "192.168.2.199", "255.255.255.0")


CAPTURES = {
    check.__name__: check
    for check in (
        bandwidth_950, bit_err_950, dev_info_950, fec_none, ip_8dev, ip_missing_on_npu2, link_doc, link_stat_950,
        link_stat_doc_device, link_stat_up_23, net_health_doc, optical_4lane, ping_910B4, port_info_950, route_910B4,
        speed_950, stat_8dev_before, stat_950, stat_doc_cut, tls_doc, vnic_950,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CAPTURES))
def test_a_capture_is_read_to_the_values_in_it(name: str) -> None:
    """What a person reads in the file is what its parser gives."""
    CAPTURES[name]()


def test_every_capture_is_read() -> None:
    """A new capture of hccn_tool belongs into the list above."""
    directory = CORPUS / "ascend" / "hccn_tool"
    if not directory.is_dir():
        pytest.skip("the corpus of captures is not here")
    assert {Path(path).stem for path in directory.glob("*.txt")} == CAPTURES.keys()
