"""Answers of hccn_tool in the form of 950, and ports of which only a part answers."""

from __future__ import annotations

import pytest

from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.link import LinkState
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources import hccn_outputs as outputs
from accelwatch.sources.base import AscendDevice
from accelwatch.sources.commands import Output
from accelwatch.sources.hccn_tool import HccnTool
from support import FakeClock, SimulatedTools, node_of

FEC_950 = """\
+-----+------+------+---------+------------------+------------+
| NPU | UDie | Port | rs_mode | auto_change_mode | itlv_mode  |
+-----+------+------+---------+------------------+------------+
| 0   | 0    | 7    | 128 T4  | Static           | Interweave |
+-----+------+------+---------+------------------+------------+
"""
PORTS_950 = """\
+---------+---------+---------------------+-----------+-------------+------------+
| UDie ID | Port ID | Speed Ability(Gbps) | Port Type | Link Status | Media Type |
+---------+---------+---------------------+-----------+-------------+------------+
| 0       | 7       | 400                 | UB        | UP          | Electrical |
| 1       | 7       | 400                 | UB        | DOWN        | Electrical |
+---------+---------+---------------------+-----------+-------------+------------+
"""
NO_RECORDS_950 = "link up count :    1\nlink down count :  4\n"


def tool(tools: SimulatedTools, clock: FakeClock | None = None) -> HccnTool:
    devices = [
        AscendDevice(DeviceKey(Vendor.ASCEND, f"npu{d.npu_id}/chip{d.chip_id}"), d.phy_id, tools.node.family == "950")
        for d in tools.node.ascend
    ]
    return HccnTool(
        command="/sim/hccn_tool",
        timeout=5,
        interval=10,
        runner=tools,
        clock=clock or FakeClock(),
        devices=lambda: devices,
    )


def states(snapshot: Snapshot) -> list[tuple[str, LinkState, int | None]]:
    return [(link.link, link.state, link.drops) for link in snapshot.links]


def test_a_950_port_has_the_state_of_the_device_now() -> None:
    """`-dev_info` tells all ports in one call each poll, records of changes or none."""
    tools = SimulatedTools(node_of("950", 1))
    printed = PORTS_950
    tools.answer = lambda line: (
        Output(0, printed, "")
        if "-dev_info" in line
        else Output(0, NO_RECORDS_950, "")
        if "-link_stat" in line
        else None
    )
    hccn_tool = tool(tools)
    assert states(hccn_tool.poll()) == [("ub0-7", LinkState.UP, 4), ("ub1-7", LinkState.DOWN, 4)]
    printed = PORTS_950.replace("DOWN       ", "UP         ")
    assert states(hccn_tool.poll()) == [("ub0-7", LinkState.UP, 4), ("ub1-7", LinkState.UP, 4)]


def test_a_port_state_that_is_not_told_is_unknown() -> None:
    """Neither UP nor DOWN is not down."""
    tools = SimulatedTools(node_of("950", 1))
    tools.answer = lambda line: (
        Output(0, PORTS_950.replace("DOWN       ", "NA         "), "")
        if "-dev_info" in line
        else Output(0, NO_RECORDS_950, "")
        if "-link_stat" in line
        else None
    )
    assert [state for _, state, _ in states(tool(tools).poll())] == [LinkState.UP, LinkState.UNKNOWN]


def test_a_refused_query_is_asked_once_unless_it_has_answered_before() -> None:
    """What the tool does not have is asked no more; what it had comes back."""
    tools = SimulatedTools(node_of("910B", 1))
    refusal = Output(0, "This device does not support optical.\n", "")
    tools.answer = lambda line: refusal if "-optical" in line else None
    hccn_tool = tool(tools)
    for _ in range(200):
        assert hccn_tool.poll().problems == ()
    assert sum("-optical" in call for call in tools.calls) == 1
    tools.answer = lambda line: Output(0, "The VM does not support this command.\n", "") if "-stat" in line else None
    before = sum("-stat -g" in call for call in tools.calls)
    for _ in range(200):
        hccn_tool.poll()
    assert 2 <= sum("-stat -g" in call for call in tools.calls) - before <= 4


def test_a_line_without_its_end_is_not_read() -> None:
    """The last number of what is cut may be a part of one."""
    tools = SimulatedTools(node_of("910B", 1))
    tools.answer = lambda line: (
        Output(0, "packet statistics:\nroce_rx_err_pkt_num:7\nroce_tx_err_pkt_num:12", "") if "-stat" in line else None
    )
    assert tool(tools).poll().links[0].errors == {"roce_rx_err_pkt_num": 7}


def test_950_is_not_asked_what_its_tool_does_not_have() -> None:
    """Its tool has neither net_health nor optical."""
    tools = SimulatedTools(node_of("950", 1))
    tool(tools).poll(everything=True)
    assert not [call for call in tools.calls if "-net_health" in call or "-optical" in call]
    assert [call for call in tools.calls if "-stat" in call]


def test_fec_of_a_950_is_its_reed_solomon_mode() -> None:
    """950 prints a table where others print one line; garbage is unknown."""
    assert outputs.parse_fec(FEC_950) == "128 T4"
    assert outputs.parse_fec("Command execute failed!\n") is None


@pytest.mark.parametrize("answer", [Output(1, "", "Command execute failed!\n"), Output(0, "\n", "")])
def test_a_port_without_history_keeps_its_state(answer: Output) -> None:
    """A failing `-link_stat` is a problem; DOWN is said all the same."""
    tools = SimulatedTools(node_of("910B", 2))
    port = tools.node.ascend[1].roce
    assert port is not None
    port.up = False
    tools.answer = lambda line: answer if "-i 1 -link_stat" in line else None
    snapshot = tool(tools).poll()
    assert states(snapshot) == [("roce0", LinkState.UP, 0), ("roce0", LinkState.DOWN, None)]
    assert "link_stat" in snapshot.problems[0]


def test_devices_are_not_asked_beyond_the_interval() -> None:
    """A tool that hangs for every device does not hold the source for the sum of its deadlines."""
    clock = FakeClock()
    tools = SimulatedTools(node_of("910B", 8))

    def slow(_line: str) -> None:
        clock.now += 4.0

    tools.answer = slow
    snapshot = tool(tools, clock).poll()
    assert len(snapshot.links) == 2
    assert "6 devices not asked" in snapshot.problems[0]


def test_half_of_a_sum_of_packets_is_unknown() -> None:
    """Packets are both ways or nothing, so that a line that is cut off does not look like a reset."""
    assert outputs.parse_stat("mac_tx_total_pkt_num:5\nroce_rx_err_pkt_num:2\n") == ({"roce_rx_err_pkt_num": 2}, None)
    assert outputs.parse_stat("mac_tx_total_pkt_num:5\nmac_rx_total_pkt_num:6\n") == (None, 11)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("Speed: 100000 Mb/s\n", 100e9), ("Speed: 400G\n", 400e9), ("Speed: Unknown!\n", None), ("", None)],
)
def test_speeds(text: str, bits: float | None) -> None:
    """Megabits or gigabits, with or without a blank."""
    assert outputs.parse_speed(text) == bits


def test_an_empty_verdict_is_no_verdict() -> None:
    """Nothing behind the colon is unknown, not ill."""
    assert outputs.parse_net_health("net health status: \n") == (None, None)
