"""Active fault events, and what the source makes of them."""

from __future__ import annotations

import pytest

from accelwatch.readings.health import FaultEvent
from accelwatch.sources.commands import Output
from accelwatch.sources.npu_smi import NpuSmi
from accelwatch.sources.npu_smi_faults import parse_fault_events
from ascend_answers import (
    NO_FAULT_EVENTS,
    TWO_FAULT_EVENTS,
)
from support import FakeClock, SimulatedTools, node_of


def source(tools: SimulatedTools, clock: FakeClock | None = None) -> NpuSmi:
    return NpuSmi(command="/sim/npu-smi", timeout=5, interval=10, runner=tools, clock=clock or FakeClock())


def test_each_event_has_its_own_severity_and_place() -> None:
    """The number is the driver's; a code is written with all its digits."""
    assert parse_fault_events(TWO_FAULT_EVENTS) == (
        FaultEvent(code="80E01801", severity=3, node_type=112, node_id=0, sub_node_type=7, sub_node_id=4),
        FaultEvent(code="00000F00", severity=0, node_type=1, node_id=2, sub_node_type=0, sub_node_id=0),
    )
    assert parse_fault_events(NO_FAULT_EVENTS) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This device does not support querying current-fault-event.\n",
        TWO_FAULT_EVENTS.replace(": 2", ": 3"),  # one was cut off
        TWO_FAULT_EVENTS.replace("0x80E01801", "80E01801?"),
        "\n".join(TWO_FAULT_EVENTS.splitlines()[1:]),
        NO_FAULT_EVENTS.replace(": 0", ": NA"),
    ],
)
def test_a_list_that_is_not_whole_is_no_list(text: str) -> None:
    """Fewer events than counted are unknown, not healthy."""
    assert parse_fault_events(text) is None


@pytest.mark.parametrize(
    ("family", "driver", "calls"),
    [("950", "26.0.0", {"-i 0", "-i 1"}), ("A3", "25.7.1", {"-i 0 -c 0", "-i 0 -c 1"}), ("910B", "25.5.2", set())],
)
def test_events_are_read_where_the_tool_knows_them(family: str, driver: str, calls: set[str]) -> None:
    """950 takes no chip id; an older tool is not asked at all."""
    tools = SimulatedTools(node_of(family, 2, driver))
    tools.node.ascend[1].error_codes = ["81AF8000"]
    tools.node.ascend[1].health = "Alarm"
    snapshot = source(tools).poll(everything=True)
    asked = {call.partition("current-fault-event ")[2] for call in tools.calls if "fault-event" in call}
    assert asked == calls
    healths = [device.health for device in snapshot.devices]
    assert [health and health.events for health in healths] == (
        [(), (FaultEvent(code="81AF8000", severity=2, node_type=215, node_id=0, sub_node_type=0, sub_node_id=0),)]
        if calls
        else [None, None]
    )
    assert [health and health.error_codes for health in healths] == [(), ("81AF8000",)]


def test_events_stand_in_for_codes_that_cannot_be_read() -> None:
    """When `-t health` fails the codes of the active events are the device's codes."""
    tools = SimulatedTools(node_of("950", 1, "26.0.0"))
    tools.node.ascend[0].error_codes = ["80E01801"]
    tools.answer = lambda line: Output(186, "", "") if "health" in line else None
    health = source(tools).poll(everything=True).devices[0].health
    assert health is not None
    assert health.error_codes == ("80E01801",)


@pytest.mark.parametrize(
    "refusal",
    [
        Output(217, "This device does not support querying current-fault-event.\n", ""),
        Output(215, "Error parameter of -t\nUsage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n", ""),
    ],
)
def test_a_tool_that_does_not_know_events_is_asked_once(refusal: Output) -> None:
    """No noise, and no call for what can never answer."""
    tools = SimulatedTools(node_of("910B", 1, "25.7.0"))
    tools.answer = lambda line: refusal if "fault-event" in line else None
    npu_smi = source(tools)
    snapshots = [npu_smi.poll() for _ in range(130)]
    assert sum("fault-event" in call for call in tools.calls) == 1
    assert {snapshot.problems for snapshot in snapshots} == {()}
    assert {device.health.events for snapshot in snapshots for device in snapshot.devices if device.health} == {None}


def test_a_query_that_has_answered_before_is_asked_again() -> None:
    """A refusal of what the tool knows may be a symptom: health comes back with its next answer."""
    tools, clock = SimulatedTools(node_of("910B", 1)), FakeClock()
    npu_smi = source(tools, clock)
    npu_smi.poll()
    tools.answer = lambda line: Output(193, "", "") if "health" in line else None
    for _ in range(30):
        clock.now += 10
        npu_smi.poll()
    tools.answer = lambda _line: None
    states = []
    for _ in range(60):
        clock.now += 10
        health = npu_smi.poll().devices[0].health
        states.append(health and health.error_codes)
    assert states[0] is None
    assert states[-1] == ()


@pytest.mark.parametrize("family", ["A3", "950"])
def test_errors_between_dies_are_those_of_a_link(family: str) -> None:
    """Its state is not told, its errors are."""
    tools = SimulatedTools(node_of(family, 2))
    tools.node.ascend[1].sio_errors = {"rx_error": 3}
    links = [link for device in source(tools).poll(everything=True).devices for link in device.links or ()]
    sio = [(link.kind.value, link.state.value, link.errors) for link in links if link.link == "sio0"]
    assert sio == [
        ("hccs", "unknown", {"tx_error": 0, "rx_error": 0}),
        ("hccs", "unknown", {"tx_error": 0, "rx_error": 3}),
    ]
