"""Chips whose first line is missing, tables cut at a line, and what the slow queries fill in."""

from __future__ import annotations

import pytest

from accelwatch.simulator import npu_smi as npu_smi_printer
from accelwatch.sources.commands import Output
from accelwatch.sources.npu_smi import NpuSmi
from accelwatch.sources.npu_smi_info import parse_info
from accelwatch.sources.npu_smi_naming import named
from support import FakeClock, SimulatedTools, node_of

A3 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc3                 Version: 24.1.rc3                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 2     Ascend910           | OK            | 160.1       37                0    / 0             |
| 0     4                   | 0000:9A:00.0  | 0           0    / 0          59356/ 65536         |
+------------------------------------------------------------------------------------------------+
| 2     Ascend910           | OK            | -           36                0    / 0             |
| 1     5                   | 0000:9C:00.0  | 0           0    / 0          2875 / 65536         |
+===========================+===============+====================================================+
| 5     Ascend910           | OK            | 171.4       38                0    / 0             |
| 0     10                  | 0000:A1:00.0  | 0           0    / 0          3126 / 65536         |
+------------------------------------------------------------------------------------------------+
| 5     Ascend910           | OK            | -           39                0    / 0             |
| 1     11                  | 0000:A3:00.0  | 0           0    / 0          2865 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 2       0                 | 815300        |                          | 56063                   |
+===========================+===============+====================================================+
| No running processes found in NPU 5                                                            |
+===========================+===============+====================================================+
"""


def source(tools: SimulatedTools, clock: FakeClock | None = None) -> NpuSmi:
    return NpuSmi(command="/sim/npu-smi", timeout=5, interval=10, runner=tools, clock=clock or FakeClock())


def without_lines(text: str, *starts: str) -> str:
    """The text without its lines that begin so; each must be there."""
    for start in starts:
        assert start in text
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(starts))


@pytest.mark.parametrize(
    "gone", ["| 2     Ascend910           | OK            | 160", "| 5     Ascend910           | OK            | -"]
)
def test_a_die_without_first_line_is_its_neighbours_npu(gone: str) -> None:
    """Die 0 goes with the die 1 after it and die 1 with the die 0 before it, though NPU ids have gaps."""
    rows, problems = named(parse_info(without_lines(A3, gone)), [], [])
    assert problems == []
    assert [(row.npu_id, row.chip_id, row.phy_id) for row in rows] == [(2, 0, 4), (2, 1, 5), (5, 0, 10), (5, 1, 11)]


def test_a_card_without_any_first_line_is_named_by_the_map() -> None:
    """What the table does not tell, `-m` does: the chips that it has and the table has not."""
    info = parse_info(without_lines(A3, "| 2     Ascend910"))
    assert len(named(info, [], [])[0]) == 2
    mapped = [(npu, chip, None) for npu in (2, 5) for chip in (0, 1)]
    rows, problems = named(info, [], mapped)
    assert problems == []
    assert [(row.npu_id, row.chip_id, row.level) for row in rows[:2]] == [(2, 0, None), (2, 1, None)]


def test_a_chip_that_cannot_be_named_is_said() -> None:
    """It is left out with a problem that tells its address, not given an id that may be another's."""
    rows, problems = named(parse_info(without_lines(A3, "| 2     Ascend910")), [], [])
    assert [row.npu_id for row in rows] == [5, 5]
    assert ["0000:9A:00.0" in problems[0], "0000:9C:00.0" in problems[1]] == [True, True]


def test_the_first_chip_can_be_sick_from_the_start() -> None:
    """A first poll that meets a chip without first line at the table's edge still knows it, by `-m`."""
    tools = SimulatedTools(node_of("910B", 3))
    tools.node.ascend[0].health = ""
    snapshot = source(tools).poll()
    assert [device.identity.npu_id for device in snapshot.devices] == [0, 1, 2]
    assert snapshot.devices[0].health is not None
    assert snapshot.devices[0].health.level is None
    assert snapshot.complete


def test_the_map_is_asked_once_in_the_first_poll() -> None:
    """The change from nothing to something does not double the first query of the list."""
    tools = SimulatedTools(node_of("910B", 2))
    source(tools).poll()
    assert tools.calls.count("info -m") == 1


def test_processes_after_a_cut_are_unknown() -> None:
    """In a table without its last rule a card without a row may have one in what was cut off."""
    whole = parse_info(A3)
    assert whole.processes_complete
    cut = parse_info(A3[: A3.index("| No running")].rsplit("\n", 2)[0] + "\n")
    assert [row.process.pid for row in cut.processes] == [815300]
    assert not cut.processes_complete
    tools = SimulatedTools(node_of("A3", 4))
    text = A3
    tools.answer = lambda line: Output(0, text, "") if line == "info" else None
    states = [device.processes for device in source(tools).poll().devices]
    assert [None if state is None else [p.pid for p in state] for state in states] == [[815300], [], [], []]
    text = A3[: A3.index("| No running")].rsplit("\n", 2)[0] + "\n"
    states = [device.processes for device in source(tools).poll().devices]
    assert [None if state is None else [p.pid for p in state] for state in states] == [[815300], None, None, None]


def without_process_table(devices: int) -> tuple[SimulatedTools, list[str]]:
    """A node whose tool prints no process table, and its table's lines."""
    tools = SimulatedTools(node_of("310P", devices, "22.0.2"))
    tools.node.process_table = False
    text = npu_smi_printer.answer(tools.node, ["info"]).stdout
    return tools, text.splitlines(keepends=True)


@pytest.mark.parametrize("kept", [2, 3])
@pytest.mark.parametrize("seen_before", [True, False])
def test_a_table_cut_behind_a_rule_makes_no_device_missing(kept: int, seen_before: bool) -> None:
    """`-m` still lists the rest, also in the first poll; the next whole table is whole."""
    tools, lines = without_process_table(4)
    npu_smi = source(tools)
    if seen_before:
        assert npu_smi.poll().complete
    cut = "".join(lines[: len(lines) - 3 * (4 - kept)])
    assert cut.endswith("+\n")
    tools.answer = lambda line: Output(0, cut, "") if line == "info" else None
    snapshot = npu_smi.poll()
    assert (len(snapshot.devices), snapshot.complete) == (kept, False)
    assert "cut?" in snapshot.problems[0]
    tools.answer = lambda _line: None
    snapshot = npu_smi.poll()
    assert (len(snapshot.devices), snapshot.complete, snapshot.problems) == (4, True, ())


def test_a_chip_that_the_table_leaves_out_again_is_missing() -> None:
    """Two equal tables are no cut: the tool lists the last chip in `-m` and cannot read it."""
    tools, lines = without_process_table(4)
    npu_smi = source(tools)
    npu_smi.poll()
    tools.answer = lambda line: Output(0, "".join(lines[:-3]), "") if line == "info" else None
    assert [npu_smi.poll().complete for _ in range(3)] == [False, True, True]


def test_a_chip_that_is_gone_from_both_lists_is_missing_at_once() -> None:
    """What `-m` does not list either was not cut off."""
    tools, _ = without_process_table(4)
    npu_smi = source(tools)
    npu_smi.poll()
    tools.node.ascend[3].present = False
    assert npu_smi.poll().complete


def test_a_chip_missing_in_the_middle_was_not_cut_off() -> None:
    """A cut takes the end."""
    tools, lines = without_process_table(4)
    npu_smi = source(tools)
    npu_smi.poll()
    del lines[9:12]
    tools.answer = lambda line: Output(0, "".join(lines), "") if line == "info" else None
    snapshot = npu_smi.poll()
    assert ([d.identity.npu_id for d in snapshot.devices], snapshot.complete) == ([0, 2, 3], True)


def test_a_process_table_cut_behind_a_rule_makes_no_chip_idle() -> None:
    """Where each card had its row or its idle line before, a card without either is unknown."""
    tools = SimulatedTools(node_of("910B", 3))
    npu_smi = source(tools)
    npu_smi.poll()
    lines = npu_smi_printer.answer(tools.node, ["info"]).stdout.splitlines(keepends=True)
    tools.answer = lambda line: Output(0, "".join(lines[:-2]), "") if line == "info" else None
    states = [device.processes for device in npu_smi.poll().devices]
    assert [None if state is None else len(state) for state in states] == [1, 1, None]


def test_no_query_starves_when_the_tool_is_slow() -> None:
    """With time for few calls a poll, every query still gets its turn, health and ECC included."""
    clock = FakeClock()
    tools = SimulatedTools(node_of("910B", 8))

    def slow(_line: str) -> None:
        clock.now += 0.9

    tools.answer = slow
    npu_smi = source(tools, clock)
    for _ in range(60):
        npu_smi.poll()
    for kind in ("health", "ecc", "hccs", "common", "memory", "board"):
        assert sum(f"-t {kind} -i" in call for call in tools.calls) >= 8, kind
    assert "info -l" in tools.calls


def test_load_that_the_table_does_not_tell_comes_from_usages() -> None:
    """A cell with NA is filled by the query that has the value."""
    tools = SimulatedTools(node_of("910B", 1))
    tools.node.ascend[0].utilization_percent = None
    usages = "\tNPU ID : 0\n\tChip Count : 1\n\n\tAicore Usage Rate(%)           : 37\n\tChip ID : 0\n"
    tools.answer = lambda line: Output(0, usages, "") if "usages" in line else None
    sensors = source(tools).poll(everything=True).devices[0].sensors
    assert sensors is not None
    assert sensors.utilization_ratio == 0.37


def test_chips_of_one_card_do_not_share_its_address() -> None:
    """Where the table has no Bus-Id, the address of the card is that of neither of its chips."""
    two = (
        "+---+\n| npu-smi 21.0.4  Version: 21.0.4 |\n+---+\n"
        "| NPU     Name      | Health          | Power(W)          Temp(C)              |\n"
        "| Chip    Device    | Bus-Id          | AICore(%)         Memory-Usage(MB)     |\n+===+\n"
        "| 8       310       | OK              | 12.5              51                   |\n"
        "| 0       4         | NA              | 7                 2457 / 8192          |\n"
        "| 8       310       | OK              | 12.5              52                   |\n"
        "| 1       5         | NA              | 0                 2457 / 8192          |\n+===+\n"
    )
    board = "\tNPU ID : 8\n\tFirmware Version : 1.76\n\tPCIe Bus Info : 0000:61:00.0\n\tChip Count : 2\n"
    tools = SimulatedTools(node_of("310", 1))
    tools.answer = lambda line: Output(0, two if line == "info" else board if "board" in line else "", "")
    devices = source(tools).poll(everything=True).devices
    assert [device.identity.pci for device in devices] == [None, None]
    assert [device.identity.firmware for device in devices] == ["1.76", "1.76"]
