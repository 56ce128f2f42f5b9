"""The npu-smi source: one table per poll, slow queries spread, each value as the node has it."""

import pytest

from accelwatch.readings.health import Level
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.link import LinkState
from accelwatch.simulator import npu_smi as npu_smi_printer
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.base import SourceError
from accelwatch.sources.commands import Output
from accelwatch.sources.npu_smi import NpuSmi
from support import FakeClock, SimulatedTools, node_of


def source(tools: SimulatedTools, clock: FakeClock | None = None) -> NpuSmi:
    return NpuSmi(command="/sim/npu-smi", timeout=5, interval=10, runner=tools, clock=clock or FakeClock())


@pytest.mark.parametrize("family", ["310", "310P", "910", "910B", "A3", "950"])
def test_everything_is_read_of_every_family(family: str) -> None:
    """Serial, address, codes, ECC, clocks and links come from the queries that the family has."""
    node = node_of(family, 4)
    node.ascend[2].error_codes = ["80E01801", "80CB800A"]
    node.ascend[2].health = "Alarm"
    node.ascend[3].ecc = {"hbm_single": 5, "hbm_double_aggregate": 2, "ddr_single": 5, "ddr_double_aggregate": 2}
    snapshot = source(SimulatedTools(node)).poll(everything=True)
    assert snapshot.problems == ()
    assert len(snapshot.devices) == 4
    for device, true in zip(snapshot.devices, node.ascend, strict=True):
        identity = device.identity
        assert identity.serial == true.serial or true.chip_id
        assert identity.pci == true.pci
        assert (identity.npu_id, identity.driver) == (true.npu_id, node.driver)
        assert identity.phy_id == (true.phy_id if family in ("A3", "950") else None)
        assert device.health is not None
        assert device.health.error_codes == tuple(true.error_codes)
        assert device.processes is not None
        assert [p.pid for p in device.processes] == [p.pid for p in true.processes]
        kinds = {link.link.rstrip("0123456789") for link in device.links or ()}
        assert kinds == {"910B": {"hccs"}, "A3": {"hccs", "sio"}, "950": {"sio"}}.get(family, set())
    assert snapshot.devices[2].health.level is Level.ALARM
    counts = {(c.kind.value, c.lifetime): c.count for c in snapshot.devices[3].ecc or () if c.count}
    assert counts == {("corrected", False): 5, ("uncorrected", True): 2}


def test_one_poll_costs_one_table_and_slow_queries_come_once_in_their_period() -> None:
    """After the first poll, six polls ask health of each card once, and no poll floods the driver."""
    tools, clock = SimulatedTools(node_of("910B", 8)), FakeClock()
    npu_smi = source(tools, clock)
    npu_smi.poll()
    tools.calls.clear()
    loads = []
    for _ in range(6):
        clock.now += 10
        before = len(tools.calls)
        npu_smi.poll()
        loads.append(len(tools.calls) - before)
    assert tools.calls.count("info") == 6
    for card in range(8):
        assert tools.calls.count(f"info -t health -i {card}") == 1
        assert tools.calls.count(f"info -t ecc -i {card}") == 1
    assert max(loads) <= min(loads) + 3


def test_what_the_table_tells_is_not_asked_for() -> None:
    """Load is in it; where the first table lacks it, the query is made until it is there."""
    tools = SimulatedTools(node_of("910B", 2))
    (first, second), clock = tools.node.ascend, FakeClock()
    first.utilization_percent = None
    npu_smi = source(tools, clock)
    npu_smi.poll()
    assert [call for call in tools.calls if "usages" in call] == ["info -t usages -i 0"]
    first.utilization_percent = 40
    tools.calls.clear()
    for _ in range(7):
        clock.now += 10
        npu_smi.poll()
    assert not any("usages" in call for call in tools.calls)
    second.utilization_percent = None
    for _ in range(7):  # `common`, which has it too, is asked again meanwhile
        clock.now += 10
        npu_smi.poll()
    assert {call for call in tools.calls if "usages" in call} == {"info -t usages -i 1"}


def test_an_answer_is_parsed_when_it_comes_and_not_at_each_poll() -> None:
    tools, clock = SimulatedTools(node_of("A3", 2)), FakeClock()
    npu_smi = source(tools, clock)
    first = npu_smi.poll().devices[1]
    tools.calls.clear()
    second = npu_smi.poll().devices[1]
    assert not {"info -t hccs -i 0 -c 1", "info -t ecc -i 0"} & set(tools.calls)
    for before, after in zip(first.links or (), second.links or (), strict=True):
        assert before is after or before.link == "sio0"
    assert first.ecc is second.ecc
    tools.node.ascend[1].ecc = {"hbm_single": 5}
    for _ in range(6):
        clock.now += 10
        third = npu_smi.poll().devices[1]
    assert {(count.kind.value, count.count) for count in third.ecc or () if count.count} == {("corrected", 5)}


def test_slow_queries_stop_at_their_share_of_the_time() -> None:
    """A tool that takes two seconds a call does not eat the interval."""
    clock = FakeClock()
    tools = SimulatedTools(node_of("910B", 8))

    def slow(_line: str) -> None:
        clock.now += 2.0

    tools.answer = slow
    npu_smi = source(tools, clock)
    npu_smi.poll()
    tools.calls.clear()
    npu_smi.poll()
    assert 2 <= len(tools.calls) <= 3


def test_an_unsupported_query_is_asked_once_and_said_never() -> None:
    """What a version does not have is not an error."""
    tools = SimulatedTools(node_of("910B", 1))
    tools.answer = lambda line: (
        Output(217, "This device does not support querying ecc.\n", "") if "ecc" in line else None
    )
    npu_smi = source(tools)
    assert npu_smi.poll().problems == ()
    assert npu_smi.poll().devices[0].ecc is None
    for _ in range(200):
        npu_smi.poll()
    assert sum("ecc" in call for call in tools.calls) == 1
    tools.node.tool = "25.0.0"  # an upgrade may bring it
    for _ in range(2):
        npu_smi.poll()
    assert sum("ecc" in call for call in tools.calls) == 2


def test_a_slow_value_that_is_not_read_any_more_vanishes() -> None:
    """Old ECC counters do not freeze when their query begins to fail."""
    tools, clock = SimulatedTools(node_of("910B", 1)), FakeClock()
    npu_smi = source(tools, clock)
    assert npu_smi.poll().devices[0].ecc is not None
    tools.answer = lambda line: Output(186, "", "") if "ecc" in line else None
    clock.now += 60
    assert any("did not answer in time" in problem for _ in range(7) for problem in npu_smi.poll().problems)
    assert npu_smi.poll().devices[0].ecc is not None
    clock.now += 120
    assert npu_smi.poll().devices[0].ecc is None


def test_a_failing_table_is_an_error_even_with_status_0() -> None:
    """Errors stand on standard output, some with status 0."""
    tools = SimulatedTools(node_of("910B", 1))
    for output in (Output(187, "dcmi module initialize failed. ret is -8005\n", ""), Output(0, "", "")):
        tools.answer = lambda _line, output=output: output
        with pytest.raises(SourceError):
            source(tools).poll()


def test_a_chip_without_first_line_keeps_its_identity() -> None:
    """The chip is recognised by its address; only its health, power and temperature are unknown."""
    tools = SimulatedTools(node_of("910B", 4))
    npu_smi = source(tools)
    npu_smi.poll()
    tools.node.ascend[2].health = ""
    devices = npu_smi.poll().devices
    assert [device.identity.npu_id for device in devices] == [0, 1, 2, 3]
    assert devices[2].identity.model == "910B2C"
    assert devices[2].health is not None
    assert devices[2].health.level is None


def test_multi_chip_blocks_end_or_begin_with_their_chip_id() -> None:
    """Both habits give each chip its own values, and an MCU does not overwrite its chip."""
    ends = "\tNPU ID : 0\n\tChip Count : 2\n\n\tX(C) : 1\n\tChip ID : 0\n\tX(C) : 2\n\tChip ID : 1\n"
    begins = "\tNPU ID : 0\n\tChip ID : 0\n\tX(C) : 1\n\tChip ID : 1\n\tX(C) : 2\n\tX(C) : 9\n"
    for text in (ends, begins):
        assert [queries.blocks(text)[chip]["X(C)"] for chip in (0, 1)] == ["1", "2"]


def test_an_answer_without_chip_ids_is_of_the_chip_that_was_left_of_its_card() -> None:
    """The code and the errors of the other die are not those of the first, neither now nor when that one is back."""
    tools, clock = SimulatedTools(node_of("A3", 2)), FakeClock()
    first, second = tools.node.ascend
    npu_smi = source(tools, clock)
    npu_smi.poll(everything=True)
    first.present = False
    second.error_codes, second.ecc = ["81078603"], {"hbm_double_aggregate": 7}
    (left,) = npu_smi.poll(everything=True).devices
    assert left.key.native == "npu0/chip1"
    assert left.health is not None
    assert left.health.error_codes == ("81078603",)
    first.present = True
    clock.now += 10
    back = npu_smi.poll().devices
    assert [device.health.error_codes for device in back if device.health] == [None, None]
    assert back[0].ecc is None
    read = npu_smi.poll(everything=True).devices
    assert [device.health.error_codes for device in read if device.health] == [(), ("81078603",)]


def test_hccs_lanes_tell_the_state_of_each_link() -> None:
    """A link whose lanes are all lost is down, one that lost some is up with less."""
    block = {"hccs health status": "NOK", "hccs link lane list": "[1111 0000 1101]", "hccs error count": "[0 7 1]"}
    links = queries.parse_hccs(block, DeviceKey(Vendor.ASCEND, "npu0/chip0"))
    assert [link.state for link in links] == [LinkState.UP, LinkState.DOWN, LinkState.UP]
    assert [link.lanes_lost for link in links] == [0, 4, 1]
    assert links[1].errors == {"error": 7}
    assert links[0].healthy is False


def test_a_cut_table_makes_no_device_missing() -> None:
    """Wherever the table is cut, the snapshot says that its list is not complete."""
    tools = SimulatedTools(node_of("910B", 8))
    npu_smi = source(tools)
    npu_smi.poll()
    lines = npu_smi_printer.answer(tools.node, ["info"]).stdout.splitlines()
    for kept in range(9, 30):
        text = "\n".join(lines[:kept])
        tools.answer = lambda line, text=text: Output(0, text, "") if line == "info" else None
        snapshot = npu_smi.poll()
        assert not snapshot.complete or len(snapshot.devices) == 8
        assert snapshot.problems


def test_the_logic_id_of_a_950_is_its_npu_id() -> None:
    """Its `-m` has no logic id, and its physical id is another number: hccn_tool takes the NPU ID."""
    tools = SimulatedTools(node_of("950", 2))
    for device, npu, phy in zip(tools.node.ascend, (2, 5), (10, 13), strict=True):
        device.npu_id, device.phy_id = npu, phy
    identities = [device.identity for device in source(tools).poll(everything=True).devices]
    assert [(one.npu_id, one.logic_id, one.phy_id) for one in identities] == [(2, 2, 10), (5, 5, 13)]
