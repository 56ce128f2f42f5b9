"""The table of `npu-smi info`: own cases of every layout, and the captures."""

import pytest

from accelwatch.readings.health import Level
from accelwatch.simulator import npu_smi
from accelwatch.sources.base import SourceError
from accelwatch.sources.npu_smi_info import ChipRow, Info, parse_info
from support import corpus, node_of

MIB = 1 << 20

NARROW_310 = """\
+------------------------------------------------------------------------------+
| npu-smi 21.0.4                       Version: 21.0.4                         |
+-------------------+-----------------+----------------------------------------+
| NPU     Name      | Health          | Power(W)          Temp(C)              |
| Chip    Device    | Bus-Id          | AICore(%)         Memory-Usage(MB)     |
+===================+=================+========================================+
| 8       310       | OK              | 12.5              51                   |
| 0       4         | NA              | 7                 2457 / 8192          |
| 8       310       | Warning         | 12.5              52                   |
| 1       5         | NA              | 0                 2457 / 8192          |
+===================+=================+========================================+
"""


def printed(family: str, driver: str, devices: int = 4) -> str:
    """The simulator's table of such a node."""
    return npu_smi.answer(node_of(family, devices, driver), ["info"]).stdout


@pytest.mark.parametrize(
    ("family", "driver"),
    [
        ("310", "22.0.2"), ("310B", "23.0.0"), ("310P", "23.0.rc3"), ("910", "22.0.4"), ("910", "24.1.0"),
        ("910B", "23.0.2.1"),
        ("910B", "24.1.rc1"), ("910B", "26.0.rc1"), ("A3", "24.1.rc3.7"), ("950", "26.0.0"),
    ],
)  # fmt: skip
def test_every_layout_gives_the_values_of_its_node(family: str, driver: str) -> None:
    """Identity, health, sensors, memory and processes come out as the node has them."""
    node = node_of(family, 4, driver)
    info = parse_info(printed(family, driver))
    assert info.problems == ()
    assert (info.tool_version, info.driver_version) == (driver, driver)
    assert len(info.chips) == 4
    for row, device in zip(info.chips, node.ascend, strict=True):
        assert (row.npu_id, row.chip_id or 0, row.name, row.level) == (
            device.npu_id,
            device.chip_id,
            device.model,
            Level.OK,
        )
        assert row.temperature_celsius == device.temperature_celsius
        assert row.power_watts == (None if device.chip_id else device.power_watts)
        assert row.utilization_ratio == device.utilization_percent / 100
        assert row.memory_used_bytes == device.memory_used_mib * MIB
        assert row.memory_total_bytes == device.memory_total_mib * MIB
        assert row.phy_id == (device.phy_id if family == "A3" else None)
    assert [p.process.pid for p in info.processes] == [20000, 20001, 20002, 20003]


def test_the_narrow_table_without_hugepages_has_device_ids_and_ddr() -> None:
    """The oldest layout has neither HBM nor hugepages; its second number is the logic id."""
    first, second = parse_info(NARROW_310).chips
    assert first == ChipRow(
        npu_id=8, chip_id=0, name="310", level=Level.OK, logic_id=4, power_watts=12.5, temperature_celsius=51.0,
        utilization_ratio=0.07, memory_used_bytes=2457 * MIB, memory_total_bytes=8192 * MIB,
    )  # fmt: skip
    assert (second.chip_id, second.level, second.logic_id) == (1, Level.WARNING, 5)


def test_a_chip_without_a_first_line_does_not_shift_the_others() -> None:
    """Health outside the known range leaves the first line out: that chip is unknown, the rest are theirs."""
    node = node_of("910B", 4)
    node.ascend[1].health = ""
    rows = parse_info(npu_smi.answer(node, ["info"]).stdout).chips
    assert [row.npu_id for row in rows] == [0, None, 2, 3]
    assert [row.bus_id for row in rows] == [device.pci.upper() for device in node.ascend]
    assert (rows[1].level, rows[1].power_watts) == (None, None)
    assert rows[2].temperature_celsius == node.ascend[2].temperature_celsius


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.62, 0.7])
def test_a_truncated_table_invents_nothing(share: float) -> None:
    """What is whole is kept and right, and the cut is reported."""
    text = printed("910B", "24.1.rc1", 8)
    whole = parse_info(text)
    cut = text[: int(len(text) * share)]
    try:
        info = parse_info(cut)
    except SourceError:
        return
    assert info.chips == whole.chips[: len(info.chips)]
    # A cut behind a whole rule looks like an end: the source misses the process table then.
    assert len(info.chips) == 8 or not info.complete or not info.has_process_table


@pytest.mark.parametrize("text", ["", "\n", "查询设备信息失败\n", "Traceback (most recent call last):\n", "\0" * 50])
def test_what_is_no_table_is_an_error_with_its_beginning(text: str) -> None:
    """Nothing is made of an answer that is none."""
    with pytest.raises(SourceError) as caught:
        parse_info(text)
    assert caught.value.sample == text[:200]


def test_an_unreachable_driver_is_said_in_plain_words() -> None:
    """The tool's numbers are translated."""
    with pytest.raises(SourceError, match="driver cannot be reached"):
        parse_info("DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n")


def test_unknown_health_is_not_health() -> None:
    """UNKNOWN and words of a newer driver have no level."""
    for word in ("UNKNOWN", "Fine"):
        node = node_of("910B")
        node.ascend[0].health = word
        row = parse_info(npu_smi.answer(node, ["info"]).stdout).chips[0]
        assert (row.npu_id, row.level) == (0, None)


def test_a_process_of_another_namespace_has_no_name() -> None:
    """An empty name is unknown, and its memory is kept."""
    text = printed("910B", "24.1.rc1", 1).replace("python3", "       ")
    process = parse_info(text).processes[0].process
    assert (process.pid, process.name) == (20000, None)
    assert process.memory_bytes


@pytest.mark.parametrize(
    ("true", "garbled"),
    [("| Process name ", "  Process name "), ("| 20001 ", "| 2??01 "), ("| 20001         |", "| 20001          ")],
)
def test_a_process_row_that_cannot_be_read_makes_no_chip_idle(true: str, garbled: str) -> None:
    """What it held is unknown, and said; nothing else breaks."""
    text = printed("910B", "24.1.rc1", 2)
    assert true in text
    info = parse_info(text.replace(true, garbled))
    assert (len(info.chips), info.processes_complete) == (2, False)
    assert "process table" in info.problems[0]


CAPTURES = {
    # file: chips, (npu, chip, name, level, power, temperature, used MiB, total MiB, bus) of the last one
    "info_310B1_23.0.rc3": (1, (0, 0, "310B1", 0, 9.2, 53, 3841, 11577, None)),
    "info_310B4_23.0.0_alarm": (1, (0, 0, "310B4", 2, 0.0, 65, 3628, 15609, None)),
    "info_310P3_22.0.2": (1, (0, 0, "310P3", 0, 16.3, 53, 4060, 21534, "0000:86:00.0")),
    "info_310P3_23.0.0_npu24_procs": (1, (24, 0, "310P3", 0, None, 29, 1832, 21527, "0000:04:00.0")),
    "info_310_21.0.3.1": (1, (0, 0, "310", 0, 12.8, 58, 5324, 8192, None)),
    "info_910A_21.0.2_2card": (2, (4, 0, "910A", 0, 65.6, 58, 0, 32768, "0000:86:00.0")),
    "info_910B2C_23.0.2.1_trailing_space": (2, (1, 0, "910B2C", 0, 99.6, 50, 20687, 65536, "0000:19:00.0")),
    "info_910B2C_24.1.rc1_16card_busy": (16, (15, 0, "910B2C", 0, 104.2, 35, 59351, 65536, "0000:D0:00.0")),
    "info_910B2C_25.5.1_single_npu2": (1, (2, 0, "910B2C", 0, 87.8, 31, 3406, 65536, "0000:52:00.0")),
    "info_910B4_26.0.rc1_wide": (1, (0, 0, "910B4", 0, 82.6, 32, 2871, 32768, "0000:C1:00.0")),
    "info_910B_22.0.4.1_gen1": (1, (0, 0, "910B", 0, 79.4, 82, 0, 32768, "0000:81:00.0")),
    "info_910_23.0.5_doc_warning_misaligned": (1, (0, 0, "xxx", 1, 73.1, 37, 0, 32768, "0000:61:00.0")),
    "info_910_24.1.rc1_doc_cut": (1, (7, 0, "xxx", 0, 67.0, 44, 0, 32768, "0000:3D:00.0")),
    "info_910gen1_24.1.0_8card": (8, (7, 0, "910B", 0, 65.6, 33, 4, 32768, "0000:02:00.0")),
    "info_950DT_8card": (8, (7, None, "Ascend950DT", 0, 372.8, 49, 4856, 98304, None)),
    "info_A3_24.1.rc3.7_16die_idle": (16, (7, 1, "Ascend910", 0, None, 37, 3188, 65536, "0000:83:00.0")),
}


@pytest.mark.parametrize("name", sorted(CAPTURES))
def test_captures_give_the_values_in_them(name: str) -> None:
    """Real tables of every generation are read to the values that a person reads in them."""
    count, (npu, chip, model, level, power, temperature, used, total, bus) = CAPTURES[name]
    info: Info = parse_info(corpus("ascend", "npu-smi", f"{name}.txt"))
    assert info.problems == ()
    assert len(info.chips) == count
    row = info.chips[-1]
    assert (row.npu_id, row.chip_id, row.name, row.level, row.bus_id) == (npu, chip, model, Level(level), bus)
    assert (row.power_watts, row.temperature_celsius) == (power, temperature)
    assert (row.memory_used_bytes, row.memory_total_bytes) == (used * MIB, total * MIB)


def test_the_capture_of_sixteen_busy_cards_has_sixteen_processes() -> None:
    """Names cut at 13 characters and memory are read row by row."""
    info = parse_info(corpus("ascend", "npu-smi", "info_910B2C_24.1.rc1_16card_busy.txt"))
    assert [(row.npu_id, row.process.name) for row in info.processes][:2] == [(0, "vllm"), (1, "rayNPURayWork")]
    assert info.processes[15].process.memory_bytes == 56063 * MIB


@pytest.mark.parametrize("name", ["info_A3_24.1.rc3.7_16die_idle", "info_910B2C_24.1.rc1_16card_busy"])
def test_the_simulator_prints_what_the_capture_shows(name: str) -> None:
    """The simulated table has the capture's rules, headers and column places."""
    text = corpus("ascend", "npu-smi", f"{name}.txt").splitlines()
    family = "A3" if "A3" in name else "910B"
    ours = printed(family, "24.1.rc1", 16).splitlines()
    assert ours[2:6] == [line.rstrip() for line in text[2:6]]
    assert {len(line) for line in ours} == {len(line.rstrip()) for line in text}
