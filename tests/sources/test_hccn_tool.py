"""hccn_tool: link, history of drops, health, errors, optics, in both forms."""

import pytest

from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.link import LinkKind, LinkState
from accelwatch.sources import hccn_outputs as outputs
from accelwatch.sources.base import AscendDevice, SourceError
from accelwatch.sources.commands import Output
from accelwatch.sources.hccn_optics import parse_optical
from accelwatch.sources.hccn_tool import HccnTool
from support import FakeClock, SimulatedTools, node_of


def source(tools: SimulatedTools) -> HccnTool:
    devices = [
        AscendDevice(DeviceKey(Vendor.ASCEND, f"npu{d.npu_id}/chip{d.chip_id}"), d.phy_id, tools.node.family == "950")
        for d in tools.node.ascend
    ]
    return HccnTool(
        command="/sim/hccn_tool", timeout=5, interval=10, runner=tools, clock=FakeClock(), devices=lambda: devices
    )


@pytest.mark.parametrize("family", ["910", "910B", "A3"])
def test_a_port_is_read_to_what_it_is(family: str) -> None:
    """State, drops, history, health, speed, FEC, errors and optics of each device's own port."""
    tools = SimulatedTools(node_of(family, 2))
    port = tools.node.ascend[1].roce
    assert port is not None
    port.up, port.drops, port.history = False, 3, [(0.0, True), (590.0, False)]
    port.errors = {"roce_rx_err_pkt_num": 7}
    good, bad = source(tools).poll().links
    assert (good.link, good.kind, good.state, good.drops) == ("roce0", LinkKind.ROCE, LinkState.UP, 0)
    assert (good.healthy, good.speed_bits_per_second, good.fec) == (True, 200e9, "rs FEC mode")
    assert good.optics is not None
    assert good.optics.rx_power_milliwatts == (1.02, 1.01, 0.99, 1.02)
    assert (bad.state, bad.drops) == (LinkState.DOWN, 3)
    assert bad.history is not None
    assert [(change.seconds_ago, change.up) for change in bad.history] == [(10.0, False), (600.0, True)]
    assert bad.errors is not None
    assert bad.errors["roce_rx_err_pkt_num"] == 7


def test_ports_of_a_950_are_unified_bus_ports() -> None:
    """950 has its own form of command and answer."""
    (link,) = source(SimulatedTools(node_of("950", 1))).poll().links
    assert (link.link, link.kind, link.state, link.drops) == ("ub0-4", LinkKind.UB, LinkState.UP, 0)


def test_one_poll_reads_link_and_history_and_spreads_the_rest() -> None:
    """Six polls ask net_health of each device once."""
    tools = SimulatedTools(node_of("910B", 8))
    hccn_tool = source(tools)
    hccn_tool.poll()
    tools.calls.clear()
    for _ in range(6):
        hccn_tool.poll()
    for device in range(8):
        assert tools.calls.count(f"-i {device} -link -g") == 6
        assert tools.calls.count(f"-i {device} -net_health -g") == 1


def test_the_network_check_of_a_port_that_was_down_is_not_held_when_it_is_up() -> None:
    """It is not asked while the port is down, and at once when it is up again."""
    tools = SimulatedTools(node_of("910B", 1))
    (device,) = tools.node.ascend
    hccn_tool = source(tools)
    assert hccn_tool.poll().links[0].healthy is True
    assert device.roce is not None
    device.roce.up, device.net_health = False, "Unreachable"
    tools.calls.clear()
    assert [hccn_tool.poll().links[0].healthy for _ in range(8)] == [None] * 8
    assert not any("net_health" in call for call in tools.calls)
    device.roce.up, device.net_health = True, "Success"
    assert hccn_tool.poll().links[0].healthy is True


def test_one_silent_device_does_not_silence_the_others() -> None:
    """Its error is a problem of the poll; when all fail, the poll fails."""
    tools = SimulatedTools(node_of("910B", 3))
    tools.answer = lambda line: Output(1, "", "The device is not exist!\n") if line.startswith("-i 1 ") else None
    snapshot = source(tools).poll()
    assert len(snapshot.links) == 2
    assert "not exist" in snapshot.problems[0]
    tools.answer = lambda _line: Output(1, "", "Command execute failed!\n")
    with pytest.raises(SourceError, match="no port of 3 devices answers"):
        source(tools).poll()


def test_without_known_devices_nothing_is_asked() -> None:
    """Before npu-smi has listed the devices there is nobody to ask about."""
    tools = SimulatedTools(node_of("910B", 0))
    assert source(tools).poll().links == ()
    assert tools.calls == []


@pytest.mark.parametrize(
    ("word", "healthy"),
    [("Success", True), ("Init", True), ("Socket fail", False), ("Receive timeout", False), ("Unknown", None)],
)
def test_net_health_words(word: str, healthy: bool | None) -> None:
    """Success and Init are healthy, Unknown is neither."""
    assert outputs.parse_net_health(f"net health status: {word}\n") == (healthy, word)


def test_powers_in_decibels_become_milliwatts() -> None:
    """Newer layouts print dBm."""
    optics = parse_optical("optical info:\npresent : present\nRx Power0 : -3.0103 dBm\n")
    assert optics is not None
    assert optics.rx_power_milliwatts[0] == pytest.approx(0.5, rel=1e-4)
