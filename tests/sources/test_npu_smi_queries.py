"""Answers of the slow queries as the manuals print them: MCU paragraphs, several chips, cut and unreadable values."""

from __future__ import annotations

import pytest

from accelwatch.readings.health import Level
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.link import LinkState
from accelwatch.sources import npu_smi_queries as queries
from ascend_answers import (
    COMMON_WITH_MCU,
    HEALTH_WITH_THREE_CODES,
    PROC_MEM_OF_TWO_CHIPS,
    TEMP_WITH_MCU_AT_THE_END,
)

KEY = DeviceKey(Vendor.ASCEND, "npu0/chip0")


def test_what_an_mcu_says_belongs_to_no_chip() -> None:
    """A temperature that the chip does not tell is unknown, not that of its board's controller."""
    common = queries.blocks(COMMON_WITH_MCU)[0]
    assert queries.number(common, "Aicore Usage Rate(%)") == 3
    assert queries.number(common, "Temperature(C)") is None
    temp = queries.blocks(TEMP_WITH_MCU_AT_THE_END)[0]
    assert queries.number(temp, "NPU Temperature(C)") == 50
    assert queries.number(temp, "Temperature(C)") is None


def test_each_code_has_its_own_text() -> None:
    """Semicolons and colons inside a text do not cut it."""
    health = queries.parse_health(queries.blocks(HEALTH_WITH_THREE_CODES)[0])
    assert health is not None
    assert health.level is Level.ALARM
    assert health.codes == ("80E01801", "80CB800A", "81078603")
    assert health.texts == (
        "node type=HBM, sensor type=Memory; part 2, event state=multi-bit ECC",
        "node type=AI Core, sensor type=Bus: AIV, event state=timeout",
        "Failed to get error information for error code : 0x81078603",
    )


@pytest.mark.parametrize("codes", ["", "Failed", "Failed to query", "8"])
def test_unreadable_codes_are_neither_codes_nor_none(codes: str) -> None:
    """Words in the place of codes do not become codes, and an empty place does not mean that there are none."""
    assert queries.parse_health({"Health Status": "OK", "Error Code": codes}) is None


def test_processes_of_two_chips_are_told_apart() -> None:
    """The part of each chip ends with its id; a name that could not be read is unknown."""
    chips = queries.processes_of_chips(PROC_MEM_OF_TWO_CHIPS)
    assert chips[0] is not None
    assert [(process.pid, process.name) for process in chips[0]] == [(4711, None), (4712, "my trainer")]
    assert chips[1] == ()


def test_processes_without_a_chip_id_are_those_of_the_only_chip() -> None:
    """950 has no chips; text that is neither a process nor says that there are none is unknown."""
    assert queries.processes_of_chips("\tNPU ID : 0\n\tNo process in device.\n") == {0: ()}
    assert queries.processes_of_chips("Get pid name failed.\n") == {0: None}


def test_lanes_that_are_not_told_are_not_counted() -> None:
    """`NA` in the lane list is no lost lane and no healthy one."""
    block = {"hccs health status": "NOK", "hccs link lane list": "[NA 1011]"}
    unknown, told = queries.parse_hccs(block, KEY)
    assert (unknown.state, unknown.lanes_lost) == (LinkState.UNKNOWN, None)
    assert (told.state, told.lanes_lost) == (LinkState.UP, 1)


def test_a_list_that_is_cut_gives_no_count() -> None:
    """The last number of a list without its bracket may be a part of one."""
    block = {"hccs health status": "OK", "hccs retry count": "[0 0]", "hccs error count": "[12 3"}
    assert [link.errors for link in queries.parse_hccs(block, KEY)] == [{"retry": 0}, {"retry": 0}]


MAP_910 = """\
\tNPU ID                         Chip ID                        Chip Logic ID                  Chip Name
\t1                              0                              0                              Ascend 910B
\t1                              1                              -                              Mcu
\t1                              2                              -                              3559
\t4                              0                              1                              Ascend 910B
"""
MAP_A3 = """\
\tNPU ID                         Chip ID                        Chip Logic ID                  Chip Phy-ID                    Chip Name
\t2                              0                              0                              4                              Ascend910
\t2                              1                              1                              5                              Ascend910
\t2                              2                              -                              -                              Mcu
"""
MAP_950 = """\
\tNPU ID                         Slot ID                        Chip ID                        Chip Phy-ID                    Chip Name
\t3                              7                              0                              6                              Ascend950PR
\t5                              1
"""


def test_the_map_of_each_generation() -> None:
    """Controllers of the board are no chips, a name may hold a blank, a row that is cut is none."""
    assert [(c.npu_id, c.chip_id, c.logic_id, c.phy_id, c.name) for c in queries.parse_map(MAP_910)] == [
        (1, 0, 0, None, "Ascend 910B"),
        (4, 0, 1, None, "Ascend 910B"),
    ]
    assert [(c.npu_id, c.chip_id, c.logic_id, c.phy_id) for c in queries.parse_map(MAP_A3)] == [
        (2, 0, 0, 4),
        (2, 1, 1, 5),
    ]
    assert queries.parse_map(MAP_950) == [
        queries.Chip(npu_id=3, chip_id=0, logic_id=None, phy_id=6, name="Ascend950PR", slot_id=7)
    ]


def test_the_list_of_each_generation() -> None:
    """With and without a product and a serial number; an empty host has no card."""
    old = "\tCard Count                     : 2\n\n\tNPU ID : 8\n\tChip Count : 4\n\n\tNPU ID : 12\n\tChip Count : 4\n"
    assert queries.parse_list(old) == {8: {"Chip Count": "4"}, 12: {"Chip Count": "4"}}
    new = "\tTotal Count : 1\n\n\tNPU ID : 2\n\tProduct Name : IT21\n\tSerial Number : 2102310\n\tChip Count : 1\n"
    assert queries.parse_list(new) == {2: {"Product Name": "IT21", "Serial Number": "2102310", "Chip Count": "1"}}
    assert queries.parse_list("There is no NPU card on this server.\n") == {}


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("\tHBM ECC-Enable Status          : True\n", {"hbm": True}),
        (
            "\tDDR ECC-Enable Status          : True\n\tHBM ECC-Enable Status          : False\n",
            {"ddr": True, "hbm": False},
        ),
        ("\tHBM ECC-Enable Status          : NA\n", None),
    ],
)
def test_whether_a_memory_is_protected(text: str, enabled: dict[str, bool] | None) -> None:
    """A memory of which nothing is said is not unprotected."""
    assert queries.parse_ecc_enabled(queries.blocks(text)[0]) == enabled


def test_packets_of_one_way_are_no_count() -> None:
    """A list that is missing does not halve the traffic."""
    block = {"hccs health status": "OK", "hccs tx packets": "[7 8]", "hccs rx packets": "[1 2"}
    assert [link.packets for link in queries.parse_hccs(block, KEY)] == [None, None]


def test_a_newer_build_says_xlink() -> None:
    """Its keys are the same behind the first word."""
    block = {"xlink health status": "NOK", "xlink link lane list": "[1110 1111]", "xlink error count": "[3 0]"}
    first, second = queries.parse_hccs(block, KEY)
    assert (first.lanes_lost, first.errors, second.errors) == (1, {"error": 3}, {"error": 0})
