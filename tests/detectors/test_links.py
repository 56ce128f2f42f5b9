"""NVLink, HCCS and UnifiedBus links."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Answered, Context
from accelwatch.detectors.links import EXPECTED_HELD_SECONDS, Links
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.severity import Severity
from detectors.replaying import GPU, NPU, Fed, answered, device, inventory, known, silent

Make = Callable[..., Fed]
UP, DOWN, UNKNOWN = LinkState.UP, LinkState.DOWN, LinkState.UNKNOWN


def nvlinks(*states: LinkState, key: DeviceKey = GPU) -> Answered:
    links = tuple(Link(key=key, link=f"nvlink{i}", kind=LinkKind.NVLINK, state=state) for i, state in enumerate(states))
    return answered("nvml", device(key, links=links))


def hccs(healthy: bool | None, *lanes: int | None) -> Answered:
    links = tuple(
        Link(
            key=NPU,
            link=f"hccs{i}",
            kind=LinkKind.HCCS,
            state=UNKNOWN if lost is None else DOWN if lost == 4 else UP,
            healthy=healthy,
            verdict=None if healthy is None else "OK" if healthy else "NOK",
            lanes_lost=lost,
        )
        for i, lost in enumerate(lanes)
    )
    return answered("npu_smi", device(NPU, links=links))


def test_a_link_that_was_up_and_is_down(fed: Make) -> None:
    links = fed(Links())
    links.quiet(nvlinks(UP, UP))
    (sign,) = links.signs(nvlinks(UP, DOWN))
    assert (sign.class_, sign.condition, sign.link) == ("intra_node_link", "link nvlink1 down", "nvlink1")
    assert (sign.device, sign.severity, sign.lasting, sign.escalate) == (GPU, None, True, False)
    assert sign.message == "link nvlink1 was up and is down"
    links.quiet(nvlinks(UP, UNKNOWN))
    links.quiet(answered("nvml", device(GPU)))
    links.quiet(silent("nvml"))
    assert [gone.condition for gone in links.gone(nvlinks(UP, UP))] == ["link nvlink1 down"]


def test_links_that_were_never_up_are_not_wired(fed: Make) -> None:
    links = fed(Links())
    for _ in range(5):
        links.quiet(nvlinks(UP, DOWN, UNKNOWN))


def test_a_link_that_the_inventory_knows_as_up_is_down_at_the_first_look(fed: Make) -> None:
    links = fed(Links(), Context(links_seen_up=frozenset({(GPU, "nvlink1")})))
    assert [sign.link for sign in links.signs(nvlinks(DOWN, DOWN))] == ["nvlink1"]


def test_a_link_that_drops_three_times_in_a_day_escalates(fed: Make) -> None:
    links = fed(Links())
    links.quiet(nvlinks(UP))
    escalated = []
    for _ in range(3):
        escalated += [sign.escalate for sign in links.signs(nvlinks(DOWN), 3600)]
        links.gone(nvlinks(UP), 3600)
    assert escalated == [False, False, True]
    assert [sign.escalate for sign in links.signs(nvlinks(DOWN), 86_400)] == [False]


def test_hccs_that_is_not_healthy(fed: Make) -> None:
    links = fed(Links())
    links.quiet(hccs(True, 0, 0))
    (sign,) = links.signs(hccs(False, 0, 0))
    assert (sign.class_, sign.condition, sign.severity) == ("intra_node_link", "hccs health", Severity.DEGRADING)
    assert sign.message == "the device says that its HCCS is NOK"
    links.quiet(hccs(None, 0, 0))
    assert len(links.gone(hccs(True, 0, 0))) == 1


@pytest.mark.parametrize("lanes", [(4, 4), (None, None)])
def test_hccs_that_was_never_wired(fed: Make, lanes: tuple[int | None, ...]) -> None:
    links = fed(Links())
    for _ in range(5):
        links.quiet(hccs(False, *lanes))


def test_lost_lanes_degrade_and_a_link_without_lanes_is_down(fed: Make) -> None:
    links = fed(Links())
    links.quiet(hccs(True, 0, 0))
    (sign,) = links.signs(hccs(True, 0, 1))
    assert (sign.condition, sign.severity) == ("link hccs1 lanes", Severity.DEGRADING)
    assert sign.message == "link hccs1 has lost 1 lane"
    (sign,) = links.signs(hccs(True, 0, 4))
    assert (sign.condition, sign.severity) == ("link hccs1 down", None)
    assert {gone.condition for gone in links.gone(hccs(True, 0, 0))} == {"link hccs1 down", "link hccs1 lanes"}


def test_a_unified_bus_port_that_drops_between_two_polls(fed: Make) -> None:
    def port(state: LinkState, drops: int) -> Answered:
        return answered("hccn_tool", links=[Link(key=NPU, link="ub0-1", kind=LinkKind.UB, state=state, drops=drops)])

    links = fed(Links())
    links.quiet(port(UP, 5))
    (sign,) = links.signs(port(UP, 6))
    assert (sign.class_, sign.condition, sign.severity) == ("intra_node_link", "link ub0-1 flap", Severity.DEGRADING)
    assert not sign.lasting
    links.quiet(port(UP, 6))


def test_fewer_links_than_the_configuration_expects(fed: Make) -> None:
    links = fed(Links(), inventory(known(GPU), expected_links=2))
    links.quiet(nvlinks(UP, DOWN))
    (sign,) = links.signs(nvlinks(UP, DOWN), EXPECTED_HELD_SECONDS)
    assert (sign.device, sign.vendor, sign.message) == (None, "host", "1 of 2 expected links between devices are up")
    links.quiet(answered("nvml", device(GPU)))
    assert len(links.gone(nvlinks(UP, UP))) == 1


def test_a_lost_device_that_tells_no_links_has_none_missing(fed: Make) -> None:
    links = fed(Links(), inventory(known(GPU), expected_links=2))
    for _ in range(20):
        links.quiet(answered("nvml", device(GPU)))
