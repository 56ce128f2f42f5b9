"""Every capture of npu-smi, and of the host beside it, is read to the values that stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from accelwatch.readings.health import FaultEvent, Level
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.process import DeviceProcess
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.npu_smi_errors import explain, unsupported
from accelwatch.sources.npu_smi_faults import parse_fault_events
from accelwatch.sources.npu_smi_host import PciAccelerator, parse_lspci, parse_version_info
from accelwatch.sources.npu_smi_info import ChipRow, parse_info
from accelwatch.sources.npu_smi_topology import parse_superpod, parse_topology
from accelwatch.sources.npu_smi_watch import parse_watch
from support import CORPUS, corpus

KEY = DeviceKey(Vendor.ASCEND, "npu0/chip0")
MIB = 1 << 20


def text(name: str) -> str:
    return corpus("ascend", "npu-smi", f"{name}.txt")


def block(name: str) -> queries.Block:
    (only,) = queries.blocks(text(name)).values()
    return only


def board_950() -> None:
    board = block("board_950")
    assert len(board) == 25
    assert queries.text(board, "PCIe Bus Info") == "0000:F1:00.0"
    assert queries.text(board, "Serial Number") is None  # blotted out: xxx
    assert (board["Main Board ID"], board["PCI Device ID"]) == ("0x68(1P)", "0xD806")
    assert board["DDie ID"] == "870408E3 2120D518 77936EE6 80B40A0A D4100003"
    assert (board["Compatibility"], board["Class ID"], board["Chip Position ID"]) == ("OK", "NA", "0")


def board_card_910A() -> None:
    assert block("board_card_910A") == {
        "NPU ID": "0", "Software Version": "23.0.5", "Firmware Version": "7.1.0.7.220", "Compatibility": "OK",
        "Board ID": "0x02", "PCB ID": "A", "BOM ID": "1", "PCIe Bus Info": "0000:61:00.0", "Slot ID": "0",
        "Class ID": "NA", "PCI Vendor ID": "0x19E5", "PCI Device ID": "0xD801", "Subsystem Vendor ID": "0x0200",
        "Subsystem Device ID": "0x0100", "Chip Count": "1",
    }  # fmt: skip


def numbers(name: str, expected: dict[str, float | None]) -> None:
    """Each key of the answer has its number, and there is none besides."""
    found = block(name)
    plain = {key.replace(" (", "("): queries.number(found, key.replace(" (", "(")) for key in found}
    assert plain == expected


def common_950() -> None:
    numbers("common_950", {
        "NPU ID": 0, "Memory Usage Rate(%)": 0, "HBM Usage Rate(%)": 3, "Aicore Usage Rate(%)": 0,
        "Aicore Freq(MHZ)": 1650, "Aicore curFreq(MHZ)": 100, "Aicore Count": 32, "Temperature(C)": 65,
        "NPU Real-time Power(W)": 298.6,
    })  # fmt: skip


def current_fault_event_950() -> None:
    assert parse_fault_events(text("current_fault_event_950")) == (
        FaultEvent(code="81AF8000", severity=2, node_type=215, node_id=0, sub_node_type=0, sub_node_id=0),
    )


def ecc_910() -> None:
    ecc = queries.parse_ecc(block("ecc_910"))
    assert ecc is not None
    counts, repairs = ecc
    assert [(c.memory, c.kind.value, c.count, c.lifetime) for c in counts] == [
        (memory, kind, 0, lifetime)
        for memory in ("ddr", "hbm")
        for lifetime in (False, True)
        for kind in ("corrected", "uncorrected")
    ]
    assert (repairs.rows_corrected, repairs.rows_uncorrected, repairs.pending) == (0, 0, None)


def ecc_enable_950() -> None:
    assert queries.parse_ecc_enabled(block("ecc_enable_950")) == {"hbm": True}


def error_dcmi_init_8005() -> None:
    assert "driver cannot be reached" in explain("npu-smi info", text("error_dcmi_init_8005"))
    assert not unsupported(text("error_dcmi_init_8005"), 0)


def error_invalid_card_id() -> None:
    assert "no such card" in explain("npu-smi info -t board -i 0", text("error_invalid_card_id"))
    assert not unsupported(text("error_invalid_card_id"), 0)
    assert queries.blocks(text("error_invalid_card_id")).get(0, {}).keys() <= {"Usage"}


def hccs_excerpt() -> None:
    packets = ((1993002168, 2091328898), (1434439505, 760745014), (1588783520, 4126456722))
    assert queries.parse_hccs(block("hccs_excerpt"), KEY) == tuple(
        Link(
            key=KEY, link=f"hccs{number}", kind=LinkKind.HCCS, state=LinkState.UP, healthy=True, verdict="OK",
            errors={"error": 0, "retry": 0}, packets=sent + received,
        )
        for number, (sent, received) in enumerate(packets)
    )  # fmt: skip


def health(name: str) -> None:
    assert queries.parse_health(block(name)) == queries.HealthAnswer(Level.OK, (), ())


def l_950() -> None:
    assert queries.parse_list(text("l_950")) == {
        0: {"Product Name": "A5 PCIe Card", "Serial Number": "IT23HMDA0502FAA"}
    }


def m_910A_8card() -> None:
    assert queries.parse_map(text("m_910A_8card")) == [
        queries.Chip(npu_id=number, chip_id=0, logic_id=number, phy_id=None, name="Ascend 910A") for number in range(8)
    ]


def memory_950() -> None:
    numbers("memory_950", {
        "NPU ID": 0, "DDR Capacity(MB)": 0, "DDR Clock Speed(MHz)": 0, "HBM Capacity(MB)": 131072,
        "HBM Clock Speed(MHz)": 3200, "HBM Temperature(C)": 63, "HBM Manufacturer ID": None,
    })  # fmt: skip


def power_950() -> None:
    numbers("power_950", {"NPU ID": 0, "NPU Real-time Power(W)": 296.5})


def proc_mem_950() -> None:
    assert queries.processes_of_chips(text("proc_mem_950")) == {
        0: (DeviceProcess(pid=395864, name="power_test", memory_bytes=5118 * MIB),)
    }


def sensors_950() -> None:
    numbers("sensors_950", {
        "Soc Max Temperature(C)": 67, "SFP Temperature(C)": None, "NDIE Temperature(C)": 65, "HBM Temperature(C)": 63,
    })  # fmt: skip


def sio_info_950() -> None:
    assert queries.parse_sio(block("sio_info_950"), KEY) == Link(
        key=KEY, link="sio0", kind=LinkKind.HCCS, errors={"tx_error": 0, "rx_error": 0}
    )


def spod_info_unsupported_950() -> None:
    assert unsupported(text("spod_info_unsupported_950"), 0)
    assert parse_superpod(queries.blocks(text("spod_info_unsupported_950")).get(0, {})) is None


def temp_950() -> None:
    numbers("temp_950", {"NPU ID": 0, "Temperature(C)": 53})


def topology(name: str, connection: str, cpus: list[str]) -> None:
    found = parse_topology(text(name))
    assert found is not None
    assert found.names == tuple(f"NPU{number}" for number in range(8))
    assert found.connections == {
        (one, other): "X" if one == other else connection for one in found.names for other in found.names
    }
    assert [found.cpus[npu] for npu in found.names] == cpus
    assert found.nics == {}


def topo_910B_8() -> None:
    near = ["144-167", "0-23", "144-167", "0-23", "96-119", "48-71", "96-119", "48-71"]
    topology("topo_910B_8", "HCCS", near)


def topo_950() -> None:
    topology("topo_950", "SYS", ["0-63,128-191"] * 4 + ["64-127,192-255"] * 4)


def usages_910A() -> None:
    numbers("usages_910A", {
        "NPU ID": 0, "Chip Count": 1, "DDR Capacity(MB)": 13553, "DDR Usage Rate(%)": 6,
        "DDR Hugepages Total(page)": 0, "DDR Hugepages Usage Rate(%)": 0, "HBM Capacity(MB)": 31129,
        "HBM Usage Rate(%)": 0, "Aicore Usage Rate(%)": 0, "Aicpu Usage Rate(%)": 0, "Ctrlcpu Usage Rate(%)": 0,
        "DDR Bandwidth Usage Rate(%)": 0, "HBM Bandwidth Usage Rate(%)": 0,
    })  # fmt: skip


def watch_910B_npu2() -> None:
    rows = parse_watch(text("watch_910B_npu2"))
    assert {(row.npu_id, row.chip_id) for row in rows} == {(2, 0)}
    assert [list(row.values.values()) for row in rows] == [
        [power, 34, 0, 0, ctrl, 5, 0] for power, ctrl in ((90.1, 2), (90.2, 0), (90.3, 0), (90.2, 1), (90.2, 2))
    ]
    assert list(rows[0].values) == [
        "Pwr(W)", "Temp(C)", "AI Core(%)", "AI Cpu(%)", "Ctrl Cpu(%)", "Memory(%)", "Memory BW(%)",
    ]  # fmt: skip


def watch_950_8card() -> None:
    rows = parse_watch(text("watch_950_8card"))
    assert [(row.npu_id, row.chip_id) for row in rows] == [(number, None) for number in range(8)]
    assert [row.values["Pwr(W)"] for row in rows] == [290.4, 292.1, 291.2, 292.1, 291.5, 289.5, 288.5, 289.3]
    assert [row.values["Temp(C)"] for row in rows] == [51, 49, 49, 49, 49, 50, 48, 51]
    assert [row.values["Ctrl Cpu(%)"] for row in rows] == [16, 4, 7, 3, 4, 6, 8, 14]
    rest = ("AI Core(%)", "AI Cpu(%)", "Memory BW(%)", "NPU Util(%)", "AI Cube(%)")
    assert all(row.values[title] == 0 for row in rows for title in rest)
    assert all(row.values["Memory(%)"] == 3 for row in rows)


def driver_version_info() -> None:
    info = parse_version_info(corpus("ascend", "host", "driver_version_info.txt"))
    assert (info["Version"], info["package_version"], info["ascendhal_version"]) == ("23.0.7", "23.0.7", "7.35.19")
    assert (info["Innerversion"], info["compatible_version_fw"]) == ("V100R001C15SPC012B220", "[7.0.0,7.1.99]")
    assert len(info) == 12


def lspci_8() -> None:
    buses = ("3d", "3e", "60", "61", "b1", "b2", "da", "db")
    assert parse_lspci(corpus("ascend", "host", "lspci_8.txt")) == tuple(
        PciAccelerator(f"{bus}:00.0", "d801", "20") for bus in buses
    )


CAPTURES: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (
        board_950, board_card_910A, common_950, current_fault_event_950, ecc_910, ecc_enable_950,
        error_dcmi_init_8005, error_invalid_card_id, hccs_excerpt, l_950, m_910A_8card, memory_950, power_950,
        proc_mem_950, sensors_950, sio_info_950, spod_info_unsupported_950, temp_950, topo_910B_8, topo_950,
        usages_910A, watch_910B_npu2, watch_950_8card, driver_version_info, lspci_8,
    )
} | {"health_950": lambda: health("health_950"), "health_ok_910A": lambda: health("health_ok_910A")}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CAPTURES))
def test_a_capture_is_read_to_the_values_in_it(name: str) -> None:
    """What a person reads in the file is what its parser gives."""
    CAPTURES[name]()


def tables() -> list[str]:
    return sorted(path.stem for path in (CORPUS / "ascend" / "npu-smi").glob("info_*.txt"))


def test_every_capture_is_read() -> None:
    """A new capture belongs into the list above; tables of `npu-smi info` are read below, all of them."""
    directory = CORPUS / "ascend"
    if not directory.is_dir():
        pytest.skip("the corpus of captures is not here")
    found = {Path(path).stem for home in ("npu-smi", "host") for path in (directory / home).glob("*.txt")}
    assert found - set(tables()) == CAPTURES.keys()


def words(line: str) -> list[str]:
    return re.findall(r"[^\s|/]+", line)


def value(word: str) -> float | None:
    return float(word) if word[0].isdigit() else None


@pytest.mark.parametrize("name", tables() or ["info_310_21.0.3.1"])
def test_every_row_of_a_captured_table_has_its_words(name: str) -> None:
    """The words of each pair of lines, counted by hand, are the chip's values; so are those of the processes."""
    printed = text(name)
    info = parse_info(printed)
    above, _, below = printed.partition("Process id")
    rows = [line for line in above.splitlines() if re.match(r"\| (?:\d|  +\|  +\| (?!Bus-Id)\S)", line)]
    pairs = [(words(first), words(second)) for first, second in zip(rows[::2], rows[1::2], strict=True)]
    assert len(pairs) == len(info.chips) > 0
    for row, (first, second) in zip(info.chips, pairs, strict=True):
        at = next(place for place, word in enumerate(second) if word == "NA" or ":" in word)
        assert row == ChipRow(
            npu_id=int(first[0]),
            name=first[1],
            level={"OK": Level.OK, "Warning": Level.WARNING, "Alarm": Level.ALARM}[first[2]],
            power_watts=value(first[3]),
            temperature_celsius=value(first[4]),
            chip_id=int(second[0]) if at else None,
            phy_id=int(second[1]) if at == 2 and "A3" in name else None,
            logic_id=int(second[1]) if at == 2 and "A3" not in name else None,
            bus_id=None if second[at] == "NA" else second[at],
            utilization_ratio=float(second[at + 1]) / 100,
            memory_used_bytes=int(second[-2]) * MIB,
            memory_total_bytes=int(second[-1]) * MIB,
        )
    held = [words(line) for line in below.splitlines() if re.match(r"\| \d", line)]
    assert [
        [str(p.npu_id), str(p.chip_id), str(p.process.pid), p.process.name, str((p.process.memory_bytes or 0) // MIB)]
        for p in info.processes
    ] == held
    assert info.idle_npus == {int(npu) for npu in re.findall(r"No running processes found in NPU (\d+)", below)}
