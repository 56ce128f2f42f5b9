"""Speed and FEC are asked less often while a link's history tells that it has stood."""

from __future__ import annotations

from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.simulator.state import Link
from accelwatch.sources.base import AscendDevice
from accelwatch.sources.commands import Output
from accelwatch.sources.hccn_standing import AGREED_PERIOD
from accelwatch.sources.hccn_tool import PERIODS, HccnTool
from support import FakeClock, SimulatedTools, node_of

INTERVAL = 10.0


class Watched:
    """The source on a node of A2, and how often speed was asked of its first device."""

    def __init__(self, devices: int = 2) -> None:
        self.tools, self.clock = SimulatedTools(node_of("910B", devices)), FakeClock()
        self.devices = [
            AscendDevice(DeviceKey(Vendor.ASCEND, f"npu{d.npu_id}/chip{d.chip_id}"), d.phy_id, False)
            for d in self.tools.node.ascend
        ]
        self.source = HccnTool(
            command="/sim/hccn_tool",
            timeout=5,
            interval=INTERVAL,
            runner=self.tools,
            clock=self.clock,
            devices=lambda: self.devices,
        )
        self.source.poll()

    @property
    def port(self) -> Link:
        port = self.tools.node.ascend[0].roce
        assert port is not None
        return port

    def speeds(self, polls: int) -> list[float | None]:
        """Of the first device, poll by poll."""
        found = []
        for _ in range(polls):
            self.clock.now += INTERVAL
            found.append(self.source.poll().links[0].speed_bits_per_second)
        return found

    def asked(self, polls: int, query: str = "speed") -> int:
        self.tools.calls.clear()
        self.speeds(polls)
        return self.tools.calls.count(f"-i 0 -{query} -g")


def test_a_link_that_stands_is_seldom_asked_what_it_agreed_on() -> None:
    node = Watched()
    assert node.asked(AGREED_PERIOD) <= 1
    assert [node.asked(AGREED_PERIOD, query) for query in ("speed", "fec", "stat")] == [1, 1, 10]
    assert node.speeds(3 * AGREED_PERIOD) == [200e9] * 3 * AGREED_PERIOD


def test_after_a_change_it_is_asked_as_soon_as_ever() -> None:
    """A change is a record or a count, also where the link was down between two polls only."""
    node = Watched()
    node.speeds(AGREED_PERIOD)
    node.port.drops, node.port.speed_gbps = node.port.drops + 1, 100
    node.port.history = [*node.port.history, (node.clock.now - 2, False), (node.clock.now - 1, True)]
    assert set(node.speeds(PERIODS["speed"])[-1:]) == {100e9}


def test_in_a_storm_of_changes_it_is_asked_no_more_often_than_ever() -> None:
    node = Watched()
    asked = 0
    for _ in range(30):
        node.port.drops += 1
        asked += node.asked(1)
    assert asked == 30 // PERIODS["speed"]


def test_without_a_history_it_is_asked_as_often_as_ever() -> None:
    """It may change unseen: as long as the history fails, and the first time after it came back."""
    node = Watched()
    node.tools.answer = lambda line: Output(1, "", "Command execute failed!\n") if "-link_stat" in line else None
    assert node.asked(24) == 4
    node.tools.answer = lambda _line: None
    node.speeds(6)
    assert node.asked(48) <= 1


def test_a_device_that_comes_back_starts_anew() -> None:
    node = Watched()
    known, node.devices = node.devices, node.devices[1:]
    node.speeds(1)
    node.devices = known
    assert node.speeds(1) == [200e9]
