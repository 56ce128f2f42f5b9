"""RoCE and RDMA ports: down, and dropped between two polls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from accelwatch.detectors.base import Answered, Context
from accelwatch.detectors.net_links import RUN_ENDS_AFTER_SECONDS, NetLinks
from accelwatch.faults.sign import Sign
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.link import Link, LinkChange, LinkKind, LinkState
from accelwatch.readings.severity import Severity
from accelwatch.runs.model import RunRef
from detectors.replaying import NPU, NPU_2, Fed, answered, silent

Make = Callable[..., Fed]
UP, DOWN, UNKNOWN = LinkState.UP, LinkState.DOWN, LinkState.UNKNOWN


def roce(
    state: LinkState,
    drops: int | None = None,
    ups: int | None = None,
    history: Sequence[tuple[float, bool]] | None = None,
    key: DeviceKey = NPU,
) -> Answered:
    """One RoCE port; `history`: seconds ago and up or not, newest first."""
    changes = None if history is None else tuple(LinkChange(ago, up) for ago, up in history)
    link = Link(key=key, link="roce0", kind=LinkKind.ROCE, state=state, drops=drops, ups=ups, history=changes)
    return answered("hccn_tool", links=[link])


def ib(state: LinkState, drops: int | None = None) -> Answered:
    link = Link(key=None, link="mlx5_0/1", kind=LinkKind.IB, state=state, drops=drops)
    return answered("rdma", links=[link])


def shape(signs: Sequence[Sign]) -> list[tuple[str, Severity | None, int, bool]]:
    return [(sign.class_, sign.severity, sign.events, sign.lasting) for sign in signs]


def test_a_port_that_is_down_degrades_at_once_and_ends_the_run_that_uses_it(fed: Make) -> None:
    ports = fed(NetLinks(), Context(runs={NPU: RunRef("4711")}))
    ports.quiet(roce(UP, 0))
    (sign,) = ports.signs(roce(DOWN, 1))
    assert (sign.class_, sign.severity, sign.condition) == ("net_link_down", Severity.DEGRADING, "link roce0 down")
    assert (sign.device, sign.link, sign.lasting) == (NPU, "roce0", True)
    assert [s.severity for s in ports.signs(roce(DOWN, 1), RUN_ENDS_AFTER_SECONDS - 1)] == [Severity.DEGRADING]
    (sign,) = ports.signs(roce(DOWN, 1), 1)
    assert sign.severity is Severity.RUN_ENDING
    assert sign.message == "port roce0 is down for 20 s while a run uses it"
    ports.quiet(silent("hccn_tool"))
    ports.quiet(roce(UNKNOWN))
    assert [gone.condition for gone in ports.gone(roce(UP, 1))] == ["link roce0 down"]


def test_a_port_that_no_run_uses_does_not_end_one(fed: Make) -> None:
    ports = fed(NetLinks(), Context(runs={NPU_2: RunRef("4711")}))
    ports.quiet(roce(UP, 0))
    for _ in range(10):
        assert shape(ports.signs(roce(DOWN, 1))) == [("net_link_down", Severity.DEGRADING, 1, True)]


def test_a_port_of_the_host_belongs_to_any_run_of_the_node(fed: Make) -> None:
    ports = fed(NetLinks(), Context(runs={NPU: RunRef("4711")}))
    ports.quiet(ib(UP, 0))
    (sign,) = ports.signs(ib(DOWN, 1))
    assert (sign.vendor, sign.device, sign.link) == ("host", None, "mlx5_0/1")
    assert [s.severity for s in ports.signs(ib(DOWN, 1), RUN_ENDS_AFTER_SECONDS)] == [Severity.RUN_ENDING]
    assert len(ports.gone(ib(UP, 1))) == 1
    ports.quiet(ib(UP, 1))


@pytest.mark.parametrize("reading", [roce(DOWN, 0, history=()), ib(DOWN, 0), ib(UNKNOWN), roce(DOWN)])
def test_a_port_that_was_never_up_was_never_cabled(fed: Make, reading: Answered) -> None:
    ports = fed(NetLinks(), Context(runs={NPU: RunRef("4711")}))
    for _ in range(10):
        ports.quiet(reading)


def test_a_host_without_infiniband_is_well(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(answered("rdma"))


def test_a_port_that_the_inventory_knows_as_up_is_down_at_the_first_look(fed: Make) -> None:
    ports = fed(NetLinks(), Context(links_seen_up=frozenset({(None, "mlx5_0/1")})))
    assert len(ports.signs(ib(DOWN))) == 1


def test_the_history_dates_the_loss(fed: Make) -> None:
    ports = fed(NetLinks(), Context(runs={NPU: RunRef("4711")}))
    ports.quiet(roce(UP, 0, history=[(86_400, True)]))
    (sign,) = ports.signs(roce(DOWN, 1, history=[(7, False), (86_410, True)]))
    assert sign.at == ports.now - 7
    (sign,) = ports.signs(roce(DOWN, 1, history=[(20, False), (86_423, True)]), 13)
    assert sign.severity is Severity.RUN_ENDING


def test_a_drop_between_two_polls_is_a_flap(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(roce(UP, 3))
    (sign,) = ports.signs(roce(UP, 5, history=[(2, True), (3, False), (6, True), (8, False)]))
    assert (sign.class_, sign.severity, sign.events) == ("net_link_flap", Severity.DEGRADING, 2)
    assert not sign.lasting
    assert sign.at == ports.now - 3
    assert sign.message == "port roce0 dropped 2 times and came back between two readings"
    ports.quiet(roce(UP, 5))


def test_older_tools_count_only_how_often_a_port_came_up(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(roce(UP, ups=4))
    assert shape(ports.signs(roce(UP, ups=5))) == [("net_link_flap", Severity.DEGRADING, 1, False)]
    assert [sign.class_ for sign in ports.signs(roce(DOWN, ups=5))] == ["net_link_down"]
    assert ports.signs(roce(UP, ups=6)) == []
    ports.quiet(roce(UP, ups=6))


def test_a_history_without_counts_tells_too(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(roce(UP, history=[(100, True), (110, False)]))
    ports.quiet(roce(UP, history=[(110, True), (120, False)]))
    (sign,) = ports.signs(roce(UP, history=[(3, True), (5, False), (120, True), (130, False)]))
    assert (sign.class_, sign.events, sign.at) == ("net_link_flap", 1, ports.now - 5)
    ports.quiet(roce(UP, history=[(14, True), (16, False), (131, True), (141, False)]))  # seconds are rounded


def test_the_devices_clock_may_drift(fed: Make) -> None:
    ports = fed(NetLinks())
    for day in range(30):  # four seconds a day
        for hour in range(24):
            ago = 4.0 * day + hour / 6 + 3600 * (24 * day + hour)
            ports.quiet(roce(UP, history=[(100 + ago, True), (110 + ago, False)]), 3600)


def test_an_empty_history_is_a_baseline(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(roce(UP, history=()))
    assert len(ports.signs(roce(UP, history=[(3, True), (5, False)]))) == 1


@pytest.mark.parametrize(
    "reading", [roce(UP, 50, 51, [(10, True), (12, False), (60, True), (70, False)]), ib(UP, 50), roce(UP, ups=51)]
)
def test_what_a_port_had_counted_before_is_no_fault(fed: Make, reading: Answered) -> None:
    ports = fed(NetLinks())
    ports.quiet(reading)
    assert [sign.lasting for sign in ports.signs(reading)] == []


def test_a_drop_that_was_seen_is_not_counted_again_when_the_counter_comes_late(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(ib(UP, 7))
    assert [sign.class_ for sign in ports.signs(ib(DOWN, 7))] == ["net_link_down"]
    ports.signs(ib(DOWN, 7))
    assert ports.signs(ib(UP, 8)) == []
    assert shape(ports.signs(ib(UP, 9))) == [("net_link_flap", Severity.DEGRADING, 1, False)]


def test_a_drop_while_it_was_down_in_both_readings_is_a_flap(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(ib(UP, 0))
    ports.signs(ib(DOWN, 1))
    assert [sign.class_ for sign in ports.signs(ib(DOWN, 2))] == ["net_link_flap", "net_link_down"]


def test_a_port_that_falls_between_state_and_history_drops_once(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(roce(UP, 0, history=[(500, True)]))
    ports.quiet(roce(UP, 1, history=[(0, False), (510, True)]))
    assert [sign.class_ for sign in ports.signs(roce(DOWN, 1, history=[(10, False), (520, True)]))] == ["net_link_down"]
    assert ports.signs(roce(UP, 1, history=[(2, True), (20, False), (530, True)])) == []


def test_a_reset_counter_is_a_new_baseline(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(ib(UP, 9))
    ports.quiet(ib(UP, 1))
    assert len(ports.signs(ib(UP, 2))) == 1


def test_the_third_drop_within_a_day_escalates(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(ib(UP, 0))
    assert [sign.escalate for sign in ports.signs(ib(UP, 1), 3600)] == [False]
    assert [sign.escalate for sign in ports.signs(ib(DOWN, 2), 3600)] == [False]
    ports.gone(ib(UP, 2), 3600)
    (sign,) = ports.signs(ib(UP, 3), 3600)
    assert (sign.escalate, sign.severity) == (True, Severity.DEGRADING)
    assert sign.message.endswith("3 drops within a day")
    # A day later they are forgotten.
    assert [sign.escalate for sign in ports.signs(ib(UP, 4), 86_400)] == [False]


def test_old_drops_do_not_count_towards_escalation(fed: Make) -> None:
    ports = fed(NetLinks())
    ports.quiet(roce(UP, 50, history=[(10, True), (12, False), (60, True), (70, False)]))
    (sign,) = ports.signs(roce(UP, 51, history=[(3, True), (5, False), (20, True), (22, False)]))
    assert not sign.escalate
