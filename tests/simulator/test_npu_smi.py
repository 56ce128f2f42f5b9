"""The simulated npu-smi: every captured table line for line, and what it answers and refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelwatch.simulator import npu_smi
from accelwatch.simulator.answer import FLOOD_BYTES
from accelwatch.simulator.state import AscendDevice, Link, Node, Process, ToolTrouble
from support import CORPUS, corpus

# capture -> family, and what the rendered lines of it are compared with
TABLES = {
    "info_310_21.0.3.1": "310",
    "info_310P3_22.0.2": "310P",
    "info_310P3_23.0.0_npu24_procs": "310P",
    "info_310B1_23.0.rc3": "310B",
    "info_310B4_23.0.0_alarm": "310B",  # blanks at the end of its lines came with the copy
    "info_910A_21.0.2_2card": "910",
    "info_910B_22.0.4.1_gen1": "910",
    "info_910gen1_24.1.0_8card": "910",
    "info_910B2C_23.0.2.1_trailing_space": "910B",  # the same blanks; its process table is cut, see below
    "info_910B2C_24.1.rc1_16card_busy": "910B",
    "info_910B2C_25.5.1_single_npu2": "910B",
    "info_910B4_26.0.rc1_wide": "910B",  # its last rule is cut
    "info_A3_24.1.rc3.7_16die_idle": "A3",
    "info_950DT_8card": "950",  # its banner is cut
}
EDITED = {"info_910_23.0.5_doc_warning_misaligned", "info_910_24.1.rc1_doc_cut"}  # by the hand of a manual's writer


def node(family: str, *devices: AscendDevice, tool: str = "24.1.rc1", driver: str | None = None) -> Node:
    return Node("n", "ascend", driver or tool, tool, family, ascend=list(devices))


def device(**values: object) -> AscendDevice:
    return AscendDevice(**{"index": 0, "model": "910B2C", "pci": "0000:5a:00.0"} | values)  # type: ignore[arg-type]


def ask(of: Node, line: str) -> str:
    return npu_smi.answer(of, line.split()).stdout


def words(line: str) -> list[str]:
    return re.findall(r"[^\s|/]+", line)


def read_node(text: str, family: str) -> Node:
    """The node that a capture shows: nothing but the values between its bars."""
    banner = re.search(r"npu-smi (\S+)\s+Version: (\S+)", text)
    tool, driver = banner.groups() if banner else ("26.0.0", "26.0.0")
    result = node(family, tool=tool, driver=driver)
    table, found, processes = text.partition("Process id")
    result.process_table = bool(found)
    rows = [line for line in table.split("\n") if line.startswith("|")]
    start = next(i for i, line in enumerate(rows) if "Bus-Id" in line) + 1
    rows = rows[start : len(rows) - (1 if found else 0)]
    for number, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        npu, model, health, power, temperature, *pages = words(first)
        below = words(second)
        bus = next(i for i, word in enumerate(below) if word == "NA" or ":" in word)
        ids, utilization, memory = below[:bus], below[bus + 1], [int(word) for word in below[bus + 2 :]]
        one = device(index=number, model=model, health=health, npu_id=int(npu), temperature_celsius=float(temperature))
        one.pci = "" if below[bus] == "NA" else below[bus].lower()
        one.power_watts = float(power) if power[0].isdigit() else None
        one.hugepages_used, one.hugepages_total = map(int, pages or ("0", "0"))
        one.chip_id = int(ids[0]) if ids else 0
        one.phy_id = int(ids[1]) if family == "A3" else number
        one.utilization_percent = float(utilization)
        one.memory_used_mib, one.memory_total_mib = memory[-2:]
        if len(memory) > 2:
            one.ddr_used_mib, one.ddr_total_mib = memory[:2]
        result.ascend.append(one)
    for line in processes.split("\n")[1:]:
        if re.match(r"\| \d", line):
            npu, _, pid, name, memory_mib = words(line)
            holder = next(one for one in result.ascend if one.npu_id == int(npu))
            holder.processes.append(Process(int(pid), name, int(memory_mib) << 20))
    return result


@pytest.mark.parametrize("name", TABLES)
def test_a_captured_table_is_printed_line_for_line(name: str) -> None:
    """A node with the capture's values prints the capture."""
    text = corpus("ascend", "npu-smi", f"{name}.txt")
    captured = [line.rstrip() for line in text.rstrip().split("\n")]
    printed = ask(read_node(text, TABLES[name]), "info").rstrip().split("\n")
    if name == "info_910B2C_23.0.2.1_trailing_space":
        # Its second card has neither row nor idle line, and a dash rule ends it.
        captured = captured[: captured.index(next(line for line in captured if "python3.8" in line)) + 1]
        printed = printed[: len(captured)]
    elif name == "info_910B4_26.0.rc1_wide":
        printed = printed[:-1]
    elif name == "info_950DT_8card":
        printed = printed[2:]
    assert printed == captured


def test_every_captured_table_is_compared() -> None:
    """A new capture of `npu-smi info` belongs into the list above."""
    directory = CORPUS / "ascend" / "npu-smi"
    if not directory.is_dir():
        pytest.skip("the corpus of captures is not here")
    assert {Path(path).stem for path in directory.glob("info_*")} == TABLES.keys() | EDITED


@pytest.mark.parametrize(
    ("name", "line", "of"),
    [
        ("m_910A_8card", "info -m", node("910", *(device(index=i, npu_id=i, model="910A") for i in range(8)))),
        ("l_950", "info -l", node("950", device(model="A5 PCIe Card", serial="IT23HMDA0502FAA"))),
        ("health_ok_910A", "info -i 0 -c 0 -t health", node("910", device())),
        ("health_950", "info -t health -i 0", node("950", device())),
        ("ecc_910", "info -i 1 -t ecc", node("910", device(npu_id=1))),
        ("ecc_enable_950", "info -t ecc-enable -i 0", node("950", device())),
        ("usages_910A", "info -i 0 -t usages",
         node("910", device(ddr_used_mib=920, ddr_total_mib=13553, memory_total_mib=31129))),
        ("common_950", "info -t common -i 0",
         node("950", device(memory_used_mib=3000, memory_total_mib=98304, aicore_clock_mhz=100, aicore_count=32,
                            temperature_celsius=65.0, power_watts=298.6))),
        ("memory_950", "info -t memory -i 0",
         node("950", device(memory_total_mib=131072, hbm_clock_mhz=3200, memory_temperature_celsius=63.0))),
        ("power_950", "info -t power -i 0", node("950", device(power_watts=296.5))),
        ("temp_950", "info -t temp -i 0", node("950", device(temperature_celsius=53.0))),
        ("proc_mem_950", "info -t proc-mem -i 0", node("950", device(processes=[Process(395864, "power_test", 5118 << 20)]))),
        ("sio_info_950", "info -t sio-info -i 0", node("950", device())),
        ("spod_info_unsupported_950", "info -t spod-info -i 0", node("950", device())),
        ("board_card_910A", "info -i 0 -t board",
         node("910", device(pci="0000:61:00.0", firmware="7.1.0.7.220"), tool="23.0.5")),
        ("current_fault_event_950", "info -t current-fault-event -i 0",
         node("950", device(health="Alarm", error_codes=["81AF8000"]), tool="26.0.0")),
        ("error_invalid_card_id", "info -i 0 -t board", node("910", device(npu_id=1))),
    ],
)  # fmt: skip
def test_a_captured_answer_is_printed_line_for_line(name: str, line: str, of: Node) -> None:
    """A node with the capture's values prints it; indentation apart, which the manuals do not keep."""
    captured = corpus("ascend", "npu-smi", f"{name}.txt")
    assert [text.strip() for text in ask(of, line).strip().split("\n")] == [
        text.strip() for text in captured.strip().split("\n")
    ]


def test_a_table_of_two_dies_stands_as_expected() -> None:
    """A3 in full: Phy-ID, `-` for the second die's power, dash rule between dies, a value that touches the slash."""
    dies = [
        device(index=i, model="Ascend910", npu_id=3, chip_id=i, phy_id=6 + i, pci=f"0000:9{i}:00.0", power_watts=178.5,
               memory_used_mib=59356, temperature_celsius=36.0)
        for i in range(2)
    ]  # fmt: skip
    dies[1].processes = [Process(4711, "python3.10-with-a-long-name", 17400 << 20)]
    assert (
        ask(node("A3", *dies), "info")
        == """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc1                 Version: 24.1.rc1                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 3     Ascend910           | OK            | 178.5       36                0    / 0             |
| 0     6                   | 0000:90:00.0  | 0           0    / 0          59356/ 65536         |
+------------------------------------------------------------------------------------------------+
| 3     Ascend910           | OK            | -           36                0    / 0             |
| 1     7                   | 0000:91:00.0  | 0           0    / 0          59356/ 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 3       1                 | 4711          | python3.10-with          | 17400                   |
+===========================+===============+====================================================+
"""
    )


@pytest.mark.parametrize(
    ("family", "tool", "columns"),
    [
        ("310", "21.0.3.1", 80), ("310P", "22.0.0", 94), ("310B", "23.0.0", 106), ("910", "21.0.2", 86),
        ("910", "22.0.4.1", 93), ("910", "23.0.rc3", 93), ("910B", "23.0.2.1", 98), ("910B", "25.5.1", 98),
        ("A3", "25.5.1", 98), ("910B", "26.0.rc1", 116), ("950", "26.0.0", 116),
    ],
)  # fmt: skip
def test_every_line_is_as_wide_as_its_version_prints(family: str, tool: str, columns: int) -> None:
    """Widths by family and version, with a process and without."""
    of = node(family, device(model="310P3", processes=[Process(1, "python3", 1 << 30)]), device(npu_id=1), tool=tool)
    assert {len(line) for line in ask(of, "info").splitlines()} == {columns}


def test_a_health_outside_the_words_leaves_out_the_first_line() -> None:
    """The second line stands alone, and health says UNKNOWN."""
    of = node("910B", device(health=""))
    assert "910B2C" not in ask(of, "info")
    assert "0000:5A:00.0" in ask(of, "info")
    assert "\tHealth Status                  : UNKNOWN\n" in ask(of, "info -t health -i 0")


def test_a_device_that_is_gone_is_left_out_everywhere() -> None:
    """No row, no card, and its queries are those of an unknown card."""
    of = node("910B", device(), device(npu_id=5, pci="0000:c1:00.0", present=False))
    assert "0000:C1" not in ask(of, "info")
    assert "\tTotal Count                    : 1\n" in ask(of, "info -l")
    answer = npu_smi.answer(of, ["info", "-t", "health", "-i", "5"])
    assert (answer.stdout.splitlines()[0], answer.stderr, answer.status) == ("Invalid card id.", "", 208)
    of.ascend[0].present = False
    assert ask(of, "info -l") == "There is no NPU card on this server.\n"


def test_several_codes_follow_each_other_without_0x() -> None:
    """Codes stand in one line, further texts below an empty key."""
    of = node("910B", device(health="Alarm", error_codes=["80E01801", "80FA4E00"]))
    lines = ask(of, "info -t health -i 0").splitlines()
    assert lines[1] == "\tError Code                     : 80E01801 80FA4E00"
    assert lines[2].startswith(
        "\tError Information              : node type=HBM/3DRAM, sensor type=Memory, event state="
    )
    assert lines[3] == ""
    assert lines[4] == f"\t{'':<30} : Failed to get error information for error code : 0x80FA4E00"


def test_blocks_of_several_chips_name_their_chip_at_the_end_or_the_beginning() -> None:
    """`Chip ID` ends a block of usages and ecc, and begins one of common; -c picks one chip."""
    of = node("310P", device(model="310P3"), device(model="310P3", chip_id=1, index=1, ecc={"ddr_single": 7}))
    ecc = ask(of, "info -t ecc -i 0").splitlines()
    assert [i for i, line in enumerate(ecc) if "Chip ID" in line] == [11, 20]
    assert ecc[12] == "\tDDR Single Bit Error Count               : 7"
    common = ask(of, "info -t common -i 0").splitlines()
    assert [line.strip() for line in common[:4]] == [
        "NPU ID                         : 0", "Chip Count                     : 2", "", "Chip ID                        : 0",
    ]  # fmt: skip
    assert "Chip ID                        : 0" not in ask(of, "info -t ecc -i 0 -c 1")


def test_the_mcu_has_sensors_under_the_same_keys() -> None:
    """On 910B the card's own temperature follows its chip's."""
    found = re.findall(
        r"Temperature\(C\) +: (\d+)", ask(node("910B", device(temperature_celsius=60.0)), "info -t common -i 0")
    )
    assert found == ["60", "56"]


def test_hccs_lists_have_a_column_of_twenty_per_link() -> None:
    """Bytes are packets by 20, a link that is down has lost its lanes, and -c is required."""
    links = [Link(0, packets=100), Link(1, up=False, errors={"error": 9})]
    of = node("910B", device(links=links, hccs_healthy=False))
    lines = dict(line.strip().split(" : ") for line in ask(of, "info -t hccs -i 0 -c 0").splitlines())
    assert lines["hccs health status ".ljust(30)] == "NOK"
    assert lines["hccs link lane list ".ljust(30)] == "[" + "1111".ljust(20) + "0000".ljust(20) + "]"
    assert lines["hccs tx bytes ".ljust(30)] == "[" + "2000".ljust(20) + "0".ljust(20) + "]"
    assert lines["hccs error count ".ljust(30)] == "[" + "0".ljust(20) + "9".ljust(20) + "]"
    assert npu_smi.answer(of, ["info", "-t", "hccs", "-i", "0"]).status == 215


@pytest.mark.parametrize(
    ("family", "line", "status", "text"),
    [
        ("910B", "", 215, "Usage:"), ("910B", "info -t ecc", 215, "Error parameter of -i"),
        ("910B", "info -t nonsense -i 0", 217, "This device does not support querying nonsense."),
        ("310", "info -t hccs -i 0 -c 0", 217, "This device does not support querying hccs."),
        ("910B", "info -t current-fault-event -i 0", 217, "does not support"),
        ("950", "info -t health -i 0 -c 0", 215, "Error parameter of -c"),
        ("910B", "info -t health -i 0 -c 7", 208, "Invalid chip id."), ("910B", "info -t", 215, "Usage:"),
    ],
)  # fmt: skip
def test_refusals_stand_on_standard_output(family: str, line: str, status: int, text: str) -> None:
    """Each with the exit status of the tool's own code."""
    answer = npu_smi.answer(node(family, device()), line.split())
    assert (answer.status, answer.stderr) == (status, "")
    assert text in answer.stdout


def test_active_events_are_listed_or_na() -> None:
    """950 names no chip, another chip must be named; the second event stands behind an empty key."""
    of = node("950", device(), tool="26.0.0")
    assert ask(of, "info -t current-fault-event -i 0").splitlines() == [
        "\tFault Event Count              : 0",
        "\tFault Event Information        : NA",
    ]
    of = node("910B", device(health="Alarm", error_codes=["80E01801", "80CB800A"]), tool="25.7.0")
    lines = ask(of, "info -t current-fault-event -i 0 -c 0").splitlines()
    assert lines[1].startswith("\tFault Event Information        : event id=0x80E01801, severity=2, node type ex=")
    assert lines[2].startswith(f"\t{'':<30} : event id=0x80CB800A, ")
    assert npu_smi.answer(of, ["info", "-t", "current-fault-event", "-i", "0"]).status == 215


def test_errors_between_dies_have_keys_without_padding() -> None:
    """One tab, then the key as it is."""
    of = node("A3", device(sio_errors={"rx_error": 3}))
    assert ask(of, "info -t sio-info -i 0 -c 0") == "\tTX Error Count : 0\n\tRX Error Count : 3\n"


def test_options_may_come_in_any_order() -> None:
    """-i before -t answers the same."""
    of = node("910B", device())
    assert ask(of, "info -i 0 -t temp") == ask(of, "info -t temp -i 0") != ""


@pytest.mark.parametrize("kind", ["garbage", "empty", "flood", "language", "error_8005", "truncate"])
def test_trouble_spoils_the_answer(kind: str) -> None:
    """Every kind prints something else than the healthy tool, only the driver's error with a status."""
    of = node("910B", *(device(npu_id=i) for i in range(8)))
    healthy = npu_smi.answer(of, ["info"])
    of.npu_smi_trouble = [ToolTrouble(kind)]
    answer = npu_smi.answer(of, ["info"])
    assert answer.stdout != healthy.stdout
    assert answer.status == (187 if kind == "error_8005" else 0)
    if kind == "truncate":
        assert healthy.stdout.startswith(answer.stdout)
        assert 0 < len(answer.stdout.splitlines()[-1]) < 98
    if kind == "flood":
        assert len(answer.stdout) == FLOOD_BYTES


def test_trouble_strikes_only_the_arguments_that_it_matches() -> None:
    """A blocked ecc query leaves the table alone; a slow one only takes its time."""
    of = node("910B", device())
    of.npu_smi_trouble = [ToolTrouble("block", "ecc"), ToolTrouble("slow", "temp", 3.0)]
    assert npu_smi.answer(of, ["info", "-t", "ecc", "-i", "0"]).block
    assert not npu_smi.answer(of, ["info"]).block
    slow = npu_smi.answer(of, ["info", "-t", "temp", "-i", "0"])
    assert (slow.delay_seconds, slow.status) == (3.0, 0)
    of.npu_smi_trouble = [ToolTrouble("sulking")]
    with pytest.raises(ValueError, match="sulking"):
        npu_smi.answer(of, ["info"])


def test_the_driver_error_is_that_of_the_capture() -> None:
    """DCMI -8005 word for word."""
    of = node("910B", device())
    of.npu_smi_trouble = [ToolTrouble("error_8005")]
    assert ask(of, "info").strip() == corpus("ascend", "npu-smi", "error_dcmi_init_8005.txt").strip()


def test_the_topology_has_a_row_and_a_column_per_npu() -> None:
    """A2 is connected by HCCS; the dies of an A3 by SIO."""
    rows = ask(node("910B", device(), device(npu_id=1)), "info -t topo").splitlines()
    assert [row.split() for row in rows[:3]] == [
        ["NPU0", "NPU1", "CPU", "Affinity"], ["NPU0", "X", "HCCS", "0-23"], ["NPU1", "HCCS", "X", "24-47"],
    ]  # fmt: skip
    dies = ask(node("A3", device(), device(chip_id=1, phy_id=1)), "info -t topo").splitlines()
    assert dies[1].split() == ["Phy-ID0", "X", "SIO", "0-23"]
