"""Cut, shuffled and garbled answers of both Ascend tools: no parser fails otherwise than it says, or invents a number.

A number of a result must stand in the text: as it is, in another unit, or (packets of both ways) as a sum.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ascend_answers as answers
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.simulator import hccn_tool, npu_smi
from accelwatch.simulator.state import Node
from accelwatch.sources import hccn_950 as unified_bus
from accelwatch.sources import hccn_network as network
from accelwatch.sources import hccn_outputs as outputs
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.base import SourceError
from accelwatch.sources.hccn_optics import parse_optical
from accelwatch.sources.npu_smi_faults import parse_fault_events
from accelwatch.sources.npu_smi_host import parse_lspci, parse_version_info
from accelwatch.sources.npu_smi_info import parse_info
from accelwatch.sources.npu_smi_naming import named
from accelwatch.sources.npu_smi_topology import parse_superpod, parse_topology
from accelwatch.sources.npu_smi_values import decimal, whole_lines
from accelwatch.sources.npu_smi_watch import parse_watch
from support import node_of

KEY = DeviceKey(Vendor.ASCEND, "npu0/chip0")
MIB = 1 << 20
# Not read from digits of the text: times from dates, bits from words.
DERIVED = {"changes", "records", "rx_loss_of_signal", "tx_loss_of_signal", "lanes_lost", "packets"}

Parse = Callable[[str], Any]


def of_blocks(parse: Callable[[queries.Block], Any]) -> Parse:
    return lambda text: [parse(block) for block in queries.blocks(text).values()]


def table(text: str) -> Any:
    try:
        info = parse_info(text)
    except SourceError:
        return None
    return info, named(info, info.chips, [])[0]


def busy(family: str, devices: int, driver: str | None = None) -> Node:
    node = node_of(family, devices, driver)
    for number, device in enumerate(node.ascend):
        device.error_codes = ["80E01801", "80CB800A"][: number % 3]
        device.ecc = {"hbm_single": 517, "hbm_double_aggregate": 23, "ddr_single": 91}
        device.temperature_celsius, device.power_watts, device.utilization_percent = 41.0 + number, 173.25, 87.0
        device.sio_errors = {"tx_error": 4711, "rx_error": 815}
        if device.roce is not None:
            device.roce.packets, device.roce.drops = 987654321, 17
            device.roce.history = [(1.0, True), (2.0, False), (3.0, True)]
    return node


def smi(family: str, line: str, devices: int = 4, driver: str | None = None) -> str:
    text = npu_smi.answer(busy(family, devices, driver), line.split()).stdout
    assert text, line
    return text


def hccn_answer(family: str, line: str) -> str:
    text = hccn_tool.answer(busy(family, 2), line.split()).stdout
    assert text, line
    return text


CASES: dict[str, tuple[Parse, list[str]]] = {
    "info": (table, [smi(family, "info", 3, driver) for family, driver in (
        ("310", "21.0.4"), ("310P", "23.0.0"), ("910", "22.0.4"), ("910B", "24.1.rc1"), ("A3", "24.1.rc3.7"),
        ("950", "26.0.0"),
    )]),
    "-m": (queries.parse_map, [smi(family, "info -m") for family in ("910", "A3", "950")]),
    "-l": (queries.parse_list, [smi(family, "info -l") for family in ("310", "910B", "950")]),
    "health": (of_blocks(queries.parse_health), [answers.HEALTH_WITH_THREE_CODES, smi("310P", "info -t health -i 0")]),
    "ecc": (of_blocks(queries.parse_ecc), [smi(family, "info -t ecc -i 0") for family in ("310P", "910", "950")]),
    "ecc-enable": (of_blocks(queries.parse_ecc_enabled), [smi("910", "info -t ecc-enable -i 0")]),
    "hccs": (of_blocks(lambda block: queries.parse_hccs(block, KEY)), [smi("910B", "info -t hccs -i 1 -c 0")]),
    "sio": (of_blocks(lambda block: queries.parse_sio(block, KEY)), [smi("950", "info -t sio-info -i 0")]),
    "spod": (of_blocks(parse_superpod), [smi("A3", "info -t spod-info -i 0")]),
    "numbers": (
        of_blocks(lambda block: [queries.number(block, key.replace(" (", "(")) for key in block]),
        [answers.COMMON_WITH_MCU, answers.TEMP_WITH_MCU_AT_THE_END, *(
            smi("910", f"info -t {kind} -i 0") for kind in ("common", "usages", "memory", "sensors", "power", "board")
        )],
    ),
    "proc-mem": (queries.processes_of_chips, [answers.PROC_MEM_OF_TWO_CHIPS, smi("950", "info -t proc-mem -i 0")]),
    "fault-event": (parse_fault_events, [answers.TWO_FAULT_EVENTS, answers.NO_FAULT_EVENTS]),
    "topo": (parse_topology, [answers.TOPOLOGY_A3_WITHOUT_AFFINITY, answers.TOPOLOGY_WITH_NICS, smi("910B", "info -t topo")]),
    "watch": (parse_watch, [answers.WATCH_A3]),
    "link": (outputs.parse_link, [hccn_answer("910B", "-i 0 -link -g")]),
    "link_stat": (outputs.parse_link_stat, [
        hccn_answer("910B", "-i 0 -link_stat -g"), hccn_answer("950", "-g -link_stat -i 0 -u 0 -p 4"),
    ]),
    "net_health": (outputs.parse_net_health, ["net health status: Socket fail\n"]),
    "speed": (outputs.parse_speed, ["Speed: 200000 Mb/s\n", hccn_answer("950", "-g -speed -i 0 -u 0 -p 4")]),
    "fec": (outputs.parse_fec, ["fec mode: rs FEC mode\n", hccn_answer("950", "-g -fec -i 0 -u 0 -p 4")]),
    "stat": (lambda text: outputs.parse_stat(text)[0], [
        hccn_answer("910B", "-i 0 -stat -g"), hccn_answer("950", "-g -stat -i 0 -u 0 -p 4"),
    ]),
    "optical": (parse_optical, [hccn_answer("910B", "-i 0 -optical -g"), answers.OPTICAL_V2, answers.OPTICAL_950]),
    "dev_info": (
        lambda text: (
            unified_bus.parse_ports(text), unified_bus.parse_interfaces(text), unified_bus.parse_eids(text)
        ),
        [answers.DEV_INFO_950],
    ),
    "port_info": (unified_bus.parse_port_info, [answers.PORT_INFO_950, hccn_answer("950", "-g -port_info -i 0 -u 0 -p 4")]),
    "bit_err": (unified_bus.parse_bit_errors, [hccn_answer("950", "-g -bit_err -i 0 -u 0 -p 4")]),
    "ip": (network.parse_ip, [hccn_answer("910B", "-i 0 -ip -g")]),
    "route": (network.parse_routes, [answers.ROUTES]),
    "vnic": (network.parse_vnic, ["vnic link status: UP\nvnic ipaddr: 198.18.2.9\nvnic netmask: 255.255.255.0\n"]),
    "ping": (network.parse_ping, [
        "recv seq=0,time=0.181000ms\nrecv seq=1,time=0.055000ms\n3 packets transmitted, 2 received, 33.33% packet loss\n",
    ]),
    "tls": (network.parse_tls, [hccn_answer("910B", "-i 1 -tls -g")]),
    "bandwidth": (network.parse_bandwidth, ["Bandwidth TX:      12.50 MB/sec\nBandwidth RX:     266.84 MB/sec\n"]),
    "lspci": (parse_lspci, ["3d:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d801 (rev 20)\n"]),
    "version.info": (parse_version_info, ["Version=23.0.7\nascendhal_version=7.35.19\n"]),
}  # fmt: skip


def numbers(value: Any) -> Iterator[float]:
    """All numbers of a result but those of `DERIVED`."""
    if isinstance(value, (bool, enum.Enum, str, type(None))):
        return
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            if field not in DERIVED:
                yield from numbers(getattr(value, field))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(key)
            yield from numbers(part)
    else:
        for part in value:
            yield from numbers(part)


def told(text: str) -> set[float]:
    """The numbers of a text, with every way to write the same value in another unit."""
    found = {float(word) for word in re.findall(r"\d+(?:\.\d+)?", text, re.ASCII)}
    found |= {float(int(word, 16)) for word in re.findall(r"0[xX][0-9A-Fa-f]{1,16}", text)}
    # A dotted group such as an address or a version holds its parts, too.
    return found | {float(part) for word in re.findall(r"[\d.]+", text, re.ASCII) for part in word.split(".") if part}


def stands_in(number: float, known: set[float]) -> bool:
    forms = [number, number / MIB, number * 100, number * 1000, number / 1e6, number / 1e9]
    if number > 0:
        forms += [10 * math.log10(number)]  # of milliwatts
    return number == 0.0 or any(
        math.isclose(abs(form), other, rel_tol=1e-9, abs_tol=1e-9) for form in forms for other in known
    )


def check(name: str, text: str, against: str) -> None:
    parse, _ = CASES[name]
    known = told(against)
    for number in numbers(parse(text)):
        assert math.isfinite(number)
        assert stands_in(number, known), (number, text)


@pytest.mark.parametrize("name", sorted(CASES))
def test_whole_answers_are_read(name: str) -> None:
    """The cases below begin with something: each parser gives a result for each of its own texts."""
    parse, texts = CASES[name]
    for text in texts:
        assert parse(text) not in (None, [], {}, ""), text
        check(name, text, text)


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_answer_has_no_number_of_its_own(name: str, data: st.DataObject) -> None:
    """Wherever it ends: the source drops a line without an end, and a row without its bar is no row."""
    whole = data.draw(st.sampled_from(CASES[name][1]))
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    check(name, cut if name == "info" else whole_lines(cut), whole)


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_lines_in_disorder_have_no_number_of_their_own(name: str, data: st.DataObject) -> None:
    """Lines of all of a parser's texts, in any order, some missing and some twice."""
    lines = [line for text in CASES[name][1] for line in text.splitlines(keepends=True)]
    shuffled = "".join(data.draw(st.lists(st.sampled_from(lines), max_size=len(lines))))
    check(name, shuffled, "".join(lines))


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_garbled_answers_do_not_raise(name: str, data: st.DataObject) -> None:
    """Foreign characters, digits of other scripts and digits without end in any place."""
    text = data.draw(st.sampled_from(CASES[name][1]))
    pieces = st.one_of(
        st.text(max_size=5),
        st.sampled_from(["²", "١٢", "9" * 5000, "1_0", "nan", "inf", "-", "|", ":", "\t", "\n", "\0", "0x", "e9", "]"]),
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(pieces) + text[at + data.draw(st.integers(0, 3)) :]
    check(name, text, text)


def test_a_number_is_what_a_tool_prints() -> None:
    """What Python's own conversions would take besides is none."""
    assert [decimal(word) for word in ("12", "-3.5", "0.0")] == [12, -3.5, 0]
    assert [decimal(word) for word in ("1_0", "nan", "inf", "1e3", "²", "١٢", "9" * 400, "", None, " 5")] == [None] * 10
