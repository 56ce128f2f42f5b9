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
