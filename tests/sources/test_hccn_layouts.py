"""Own answers of hccn_tool in every layout: columns of an optical module, addresses, routes, 950's tables."""

from __future__ import annotations

import pytest

from accelwatch.readings.link import LinkState, Optics
from accelwatch.sources import hccn_950 as unified_bus
from accelwatch.sources import hccn_network as network
from accelwatch.sources import hccn_outputs as outputs
from accelwatch.sources.hccn_optics import parse_optical
from ascend_answers import (
    DEV_INFO_950,
    OPTICAL_950,
    OPTICAL_V2,
    OPTICAL_V2_ABSENT,
    PORT_INFO_950,
    ROUTES,
)


def power(dbm: float) -> object:
    return pytest.approx(10 ** (dbm / 10))


def test_a_module_in_columns_has_its_powers_thresholds_and_flags() -> None:
    """A dark lane is `-inf` dBm, which is no light at all; `-` is a lane that is not told."""
    assert parse_optical(OPTICAL_V2) == Optics(
        present=True,
        temperature_celsius=41.0,
        voltage_volts=3.29,
        rx_power_milliwatts=(power(-0.5), power(3.01), 0.0, None),  # type: ignore[arg-type]
        tx_power_milliwatts=(power(1.25), 1.0),  # type: ignore[arg-type]
        rx_power_low_milliwatts=power(-10.0),  # type: ignore[arg-type]
        tx_power_low_milliwatts=power(-5.5),  # type: ignore[arg-type]
        rx_loss_of_signal=0b100,
        tx_loss_of_signal=0,
    )


def test_a_module_of_one_lane_has_no_lane_numbers() -> None:
    """Older boards print its power without a number."""
    optics = parse_optical("optical info:\npresent : present\nTx Power : 0.9120 mW\nRx Power : 0.0007 mW\n")
    assert optics is not None
    assert (optics.tx_power_milliwatts, optics.rx_power_milliwatts) == ((0.9120,), (0.0007,))


def test_columns_without_a_value_say_nothing_of_the_module() -> None:
    """`-` everywhere is a module that is absent or cannot be read: neither present nor dark."""
    optics = parse_optical(OPTICAL_V2_ABSENT)
    assert optics is not None
    assert (optics.present, optics.temperature_celsius, optics.rx_power_milliwatts) == (None, None, (None,))
    assert optics.rx_loss_of_signal is None


def test_a_module_of_950_is_in_tables() -> None:
    """The same items between bars, with its maker in a table of its own."""
    optics = parse_optical(OPTICAL_950)
    assert optics is not None
    assert (optics.present, optics.vendor, optics.serial) == (True, "Example", "EX00000001")
    assert optics.rx_power_milliwatts == (power(1.5), 0.0)
    assert optics.rx_power_low_milliwatts == power(-9.0)
    assert (optics.temperature_celsius, optics.rx_loss_of_signal, optics.tx_loss_of_signal) == (52.0, 0b10, None)


@pytest.mark.parametrize(
    "text",
    ["", "I2c is busy. Please try again.\n", "Control link unreachable.\n", "Items   Value\n", "Items  Status\n"],
)
def test_a_module_that_cannot_be_asked_is_unknown(text: str) -> None:
    """Not absent, and not without light."""
    assert parse_optical(text) is None


def test_impossible_powers_are_none() -> None:
    """A garbled exponent does not overflow."""
    optics = parse_optical(OPTICAL_V2.replace("-0.50", "99999"))
    assert optics is not None
    assert optics.rx_power_milliwatts[0] is None


def test_addresses_that_are_set_or_not() -> None:
    """Nothing, a sentence, and an address that is none are all no address."""
    assert network.parse_ip("ipaddr:198.18.4.10\nnetmask:255.255.255.0\n") == network.Address(
        "198.18.4.10", "255.255.255.0"
    )
    assert network.parse_ip("ipaddr: fd00::2\n") == network.Address("fd00::2", None)
    for text in ("", "Get ipconf failed, because no ip was preset there!\n", "ipaddr:198.18.4\n"):
        assert network.parse_ip(text) is None


def test_a_virtual_card_has_state_and_address() -> None:
    """DOWN without an address is still said."""
    assert network.parse_vnic("vnic link status: DOWN\nvnic ipaddr: NA\n") == network.Vnic(LinkState.DOWN, None, None)
    assert network.parse_vnic("Command execute failed!\n") is None


def test_routes_go_by_their_header() -> None:
    """Older versions have three columns more."""
    assert network.parse_routes(ROUTES) == (
        network.Route("default", "198.18.0.1", "0.0.0.0", "UG", "eth0"),
        network.Route("198.18.0.0", None, "255.255.255.0", "U", "eth0"),
    )
    assert network.parse_routes("Command execute failed!\n") is None


def test_a_ping_that_lost_packets() -> None:
    """Loss is a ratio; without its last line nothing is known."""
    text = (
        "device 3 PING 198.18.0.9\nrecv seq=1,time=0.060000ms\n4 packets transmitted, 1 received, 75.00% packet loss\n"
    )
    assert network.parse_ping(text) == network.Ping(4, 1, 0.75, (0.06,))
    assert network.parse_ping(text[: text.index("4 packets")]) is None


def test_tls_switch_and_bandwidth() -> None:
    """On and off, and both ways or nothing."""
    tls = "dev_id:5, tls switch[1](0:disable, 1:enable), tls preconfigured[0](0:non-preset, 1:preset)\n"
    assert network.parse_tls(tls) == network.Tls(5, True, False, None)
    assert network.parse_tls("tls switch[2]\n") is None
    assert network.parse_bandwidth("Bandwidth TX:   12.50 MB/sec\nBandwidth RX:    0.00 MB/sec\n") == network.Bandwidth(
        12.5, 0.0
    )
    assert network.parse_bandwidth("Bandwidth TX:   12.50 MB/sec\nBandwidth RX:\n") is None


def test_ports_and_interfaces_of_a_950() -> None:
    """A state that is neither UP nor DOWN is unknown; a row without a name goes with the one above it."""
    assert unified_bus.parse_ports(DEV_INFO_950) == [
        unified_bus.Port(0, 4, True, 400, "UB", "Optical"),
        unified_bus.Port(1, 5, None, None, "UB", "NA"),
    ]
    assert unified_bus.parse_interfaces(DEV_INFO_950) == (
        unified_bus.Interface("end0v0", (("198.18.2.10", "255.255.255.0"),)),
        unified_bus.Interface("ipourma0", (("fd00::1", "ffff:ffff::"), ("fd00::2", "ffff:ffff::"))),
    )


def test_a_port_of_a_950_in_detail() -> None:
    """The same key in two sections has two values."""
    info = unified_bus.parse_port_info(PORT_INFO_950)
    assert info is not None
    assert info.port == 11
    assert info.sections["UB PORT LINK INFO"]["port_link"] == "unlink"
    assert info.sections["UB DLPHY INFO"]["fec"].endswith("(128, 120,T=4)")
    assert unified_bus.parse_port_info("Command execute failed!\n") is None
    errors = "----- dl-bit_err -----\nport_id: 0x5\nst_fec_decoding_fail_num: 0x0\nst_fec_err_bit_num: 0x1f\n"
    assert unified_bus.parse_bit_errors(errors) == unified_bus.BitErrors(
        5, {"st_fec_decoding_fail_num": 0, "st_fec_err_bit_num": 31}
    )
    assert unified_bus.parse_bit_errors("port_id: 0x5\n") is None


def test_records_are_of_the_clock_of_the_device() -> None:
    """950 prints no present time: when a change was is known only against its other changes."""
    text = (
        "link up count :    9\nlink down count :  8\n"
        "|  0  |  0   |  7   |  LINK_DOWN  | Tue Mar 3 04:05:06 2026 |\n"
        "|  0  |  0   |  7   |  LINK_UP    | Tue Mar 3 04:05:01 2026 |\n"
    )
    history = outputs.parse_link_stat(text)
    assert history is not None
    assert (history.ups, history.drops, history.changes) == (9, 8, None)
    (down, first), (up, second) = history.records
    assert (down - up, first, second) == (5.0, False, True)
