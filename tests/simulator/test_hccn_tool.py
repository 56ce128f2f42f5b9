"""The simulated hccn_tool: the captured answers, its history of drops, and what it refuses."""

from __future__ import annotations

import time

import pytest

from accelwatch.simulator import hccn_tool
from accelwatch.simulator.state import AscendDevice, Link, Node, Process, ToolTrouble
from support import corpus

UB = ("-u", "0", "-p", "4")


def node(family: str = "910B", port: Link | None = None, driver: str = "24.1.rc1", **values: object) -> Node:
    device = AscendDevice(**{"index": 0, "model": "910B2C", "pci": ""} | values, roce=port or Link(0))  # type: ignore[arg-type]
    return Node("n", "ascend", driver, driver, family, ascend=[device], now=1000.0, wall=1_790_000_000.0)


def ask(of: Node, what: str, number: int = 0) -> str:
    answer = hccn_tool.answer(of, ["-i", str(number), f"-{what}", "-g"])
    assert (answer.status, answer.stderr) == (0, "")
    return answer.stdout


def ask_950(of: Node, what: str, *where: str) -> str:
    answer = hccn_tool.answer(of, ["-g", f"-{what}", "-i", "0", *where])
    assert (answer.status, answer.stderr) == (0, "")
    return answer.stdout


def captured(name: str) -> str:
    return corpus("ascend", "hccn_tool", f"{name}.txt").rstrip("\n")


def keys(text: str) -> list[str]:
    return [line.partition(":")[0] for line in text.strip().split("\n")]


def at(stamp: str) -> float:
    """Seconds since the epoch of a time on this host's clock."""
    return time.mktime(time.strptime(stamp))


@pytest.mark.parametrize(
    ("name", "what", "of"),
    [
        ("link_doc", "link", node()), ("net_health_doc", "net_health", node(net_health="Init")),
        ("fec_none", "fec", node(fec="no FEC mode")), ("tls_doc", "tls", node()),
    ],
)  # fmt: skip
def test_a_captured_answer_is_printed(name: str, what: str, of: Node) -> None:
    """A device with the capture's values prints it."""
    text = captured(name)
    assert ask(of, what).rstrip("\n") == text


def test_the_captured_history_is_printed() -> None:
    """23.x has no count of drops; the newest change stands first; times are the device's."""
    text = captured("link_stat_doc_device").replace("[device 0]", "[devid 0]")
    changes = [(at(stamp), up) for stamp, up in (
        ("Tue Jun  6 16:31:55 2023", True), ("Tue Jun  6 16:32:10 2023", False), ("Tue Jun  6 16:32:12 2023", True),
    )]  # fmt: skip
    of = node(port=Link(0, ups=2, drops=1, history=changes), driver="23.0.5")
    of.now = of.wall = at("Wed Jun  7 10:08:28 2023")
    assert ask(of, "link_stat").rstrip("\n") == text


def test_drops_are_counted_from_24_on() -> None:
    """`link down count` is there, and a port without changes says NA."""
    lines = ask(node(port=Link(0, drops=3)), "link_stat").splitlines()
    assert lines[1:] == [
        "[devid 0]link up count       : 1",
        "[devid 0]link down count     : 3",
        "[devid 0]link change records : NA",
    ]


def test_scenario_seconds_are_shown_as_the_device_clock() -> None:
    """A change five seconds ago stands five seconds before the current time."""
    lines = ask(node(port=Link(0, history=[(995.0, False)])), "link_stat").splitlines()
    now = at(lines[0].partition(": ")[2])
    assert now == 1_790_000_000
    assert at(lines[-1].removeprefix("[devid 0]").partition("LINK")[0].strip()) == now - 5


def test_the_optical_module_has_the_keys_of_the_capture() -> None:
    """Every line in its order; a lane below its threshold sets its bit."""
    dark = ask(node(rx_power_milliwatts=[1.0, 0.0054, 1.0, 1.0]), "optical")
    assert "Rx Power1            : 0.0054 mW\n" in dark
    assert "Rx Los Flag          : 0x2\n" in dark
    assert "Rx Los Flag          : 0x0\n" in ask(node(), "optical")
    assert ask(node(optical_present=False), "optical") == "Optical module is not present.\n"
    assert keys(dark) == keys(captured("optical_4lane"))


def test_statistics_stand_in_the_order_of_the_capture() -> None:
    """Its beginning and its end; errors are those of the port."""
    text = ask(node(port=Link(0, packets=5, errors={"roce_rx_err_pkt_num": 7, "roce_of_tomorrow_num": 1})), "stat")
    assert "roce_rx_err_pkt_num:7\n" in text
    assert "mac_tx_total_pkt_num:5\n" in text
    assert text.endswith("roce_of_tomorrow_num:1\n")
    first, last = (part.strip().split("\n") for part in captured("stat_doc_cut").split("..."))
    printed = keys(ask(node(), "stat"))
    assert printed[:4] == keys("\n".join(first))
    assert printed[-4:] == keys("\n".join(last))[1:]
    assert keys("\n".join(last))[0] in printed


def test_a_port_that_is_down_has_no_speed() -> None:
    """Speed is Unknown, link DOWN; up again it is that of the port."""
    assert ask(node(port=Link(0, up=False)), "speed") == "Speed: Unknown!\n"
    assert ask(node(port=Link(0, up=False)), "link") == "link status: DOWN\n"
    assert ask(node(), "speed") == "Speed: 200000 Mb/s\n"


def test_a_process_on_the_device_holds_its_hccp() -> None:
    """exist while somebody uses the device."""
    assert ask(node(), "process") == "device hccp process: not exist\n"
    assert ask(node(processes=[Process(1, "python3", 1)]), "process") == "device hccp process: exist\n"


def test_an_address_has_no_blank_after_its_colon() -> None:
    """As in the captures of eight devices."""
    assert [line.partition(":")[0] for line in ask(node(), "ip").splitlines()] == ["ipaddr", "netmask"]
    assert " " not in ask(node(), "ip")
    assert ask(node(), "gateway").startswith("default gateway:")


def test_the_number_is_the_physical_id() -> None:
    """910, A2 and A3 go by phy id; 950 by logic id."""
    assert ask(node(index=0, phy_id=12), "link", 12) == "link status: UP\n"
    assert hccn_tool.answer(node(index=0, phy_id=12), ["-i", "0", "-link", "-g"]).status == 1
    assert "LINK" in ask_950(node("950", Link(0, history=[(1.0, True)]), index=0, phy_id=12), "link_stat", *UB)


@pytest.mark.parametrize("argv", ["-i 3 -link -g", "-g -link_stat -i 3 -u 0 -p 4"])
def test_an_unknown_device_is_refused_on_standard_error(argv: str) -> None:
    """In both forms, also for one that is gone from the bus or has no port."""
    family = "950" if argv.startswith("-g") else "910B"
    gone, portless = node(family, index=3, phy_id=3, present=False), node(family, index=3, phy_id=3)
    portless.ascend[0].roce = None
    for of in (node(family), gone, portless):
        answer = hccn_tool.answer(of, argv.split())
        assert (answer.stdout, answer.stderr, answer.status) == ("", "The device is not exist!\n", 1)


@pytest.mark.parametrize(
    ("family", "argv"),
    [
        ("910B", ""), ("910B", "-i 0 -lldp -g"), ("910B", "-i 0 -link"), ("910B", "-g -link_stat -i 0 -u 0 -p 4"),
        ("950", "-i 0 -link -g"), ("950", "-g -link_stat -i 0"), ("950", "-g -stat -i 0 -u 1 -p 4"),
        ("950", "-g -optical -i 0 -u 0 -p 4"),
    ],
)  # fmt: skip
def test_other_commands_fail(family: str, argv: str) -> None:
    """Also those in the other generation's form."""
    answer = hccn_tool.answer(node(family), argv.split())
    assert (answer.stdout, answer.status) == ("", 1)
    assert answer.stderr == "Command execute failed!\n"


def test_the_captured_history_of_a_950_is_printed() -> None:
    """A table, newest first, with days of one place."""
    text = captured("link_stat_950")
    changes = [(at(f"Mon Feb 9 21:{stamp} 2026"), up) for stamp, up in (
        ("42:59", False), ("43:04", True), ("45:47", False), ("45:51", True),
    )]  # fmt: skip
    of = node("950", Link(0, ups=2, drops=2, history=changes))
    of.now = of.wall
    assert ask_950(of, "link_stat", *UB).rstrip("\n") == text


def test_captured_answers_of_a_950_are_printed() -> None:
    """Speed, statistics and bit errors in full; of ports and interfaces the layout; of a port's state what is kept."""
    assert ask_950(node("950"), "speed", *UB).rstrip("\n") == captured("speed_950")
    assert ask_950(node("950"), "stat", *UB).rstrip("\n") == captured("stat_950")
    errors = {"st_fec_decoding_fail_num": 4, "st_fec_err_bit_num": 0x3868275F}
    assert ask_950(node("950", Link(0, errors=errors)), "bit_err", *UB).rstrip("\n") == captured("bit_err_950")
    ports = ask_950(node("950"), "dev_info").split("\n")
    assert ports[:4] == captured("dev_info_950").split("\n")[:4]
    assert {line for line in ports if line.startswith("+")} <= set(captured("dev_info_950").split("\n"))
    assert set(ask_950(node("950"), "port_info", *UB).strip().split("\n")) <= set(captured("port_info_950").split("\n"))


def test_a_950_port_that_is_down_says_so() -> None:
    """In the list of ports and in its own state."""
    down = node("950", Link(0, up=False))
    assert "| DOWN        |" in ask_950(down, "dev_info")
    assert "port_link: unlink\n" in ask_950(down, "port_info", *UB)


@pytest.mark.parametrize("family", ["910B", "950"])
def test_trouble_strikes_hccn_tool_alone(family: str) -> None:
    """npu-smi's trouble is not its own."""
    of = node(family)
    argv = ["-g", "-speed", "-i", "0", *UB] if family == "950" else ["-i", "0", "-speed", "-g"]
    of.npu_smi_trouble = [ToolTrouble("empty")]
    assert hccn_tool.answer(of, argv).stdout
    of.hccn_tool_trouble = [ToolTrouble("block", "-speed")]
    assert hccn_tool.answer(of, argv).block
    assert not hccn_tool.answer(of, [word.replace("speed", "stat") for word in argv]).block


def test_fec_of_a_950_is_a_table() -> None:
    """As its manual prints it; the device goes by its NPU ID."""
    of = node("950", npu_id=0, index=6)
    assert ask_950(of, "fec", *UB).splitlines()[1:4:2] == [
        "| NPU | UDie | Port | rs_mode | auto_change_mode | itlv_mode  |",
        "| 0   | 0    | 4    | 128 T4  | Static           | Interweave |",
    ]
