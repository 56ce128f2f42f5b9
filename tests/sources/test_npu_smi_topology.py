"""Topology, superpod and scrolling lines in the layouts of each generation."""

from __future__ import annotations

import pytest

from accelwatch.simulator import npu_smi
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.npu_smi_topology import SuperPod, parse_superpod, parse_topology
from accelwatch.sources.npu_smi_watch import WatchRow, parse_watch
from ascend_answers import (
    TOPOLOGY_A3_WITHOUT_AFFINITY,
    TOPOLOGY_WITH_NICS,
    WATCH_A3,
)
from support import node_of


@pytest.mark.parametrize(("family", "devices"), [("910B", 8), ("A3", 4), ("950", 2), ("910", 1)])
def test_the_matrix_is_that_of_the_node(family: str, devices: int) -> None:
    """Every pair once each way, itself X, and the CPUs of each."""
    topology = parse_topology(npu_smi.answer(node_of(family, devices), ["info", "-t", "topo"]).stdout)
    assert topology is not None
    assert len(topology.names) == len(topology.cpus) == devices
    assert len(topology.connections) == devices * devices
    assert all((word == "X") == (one == other) for (one, other), word in topology.connections.items())
    assert topology.cpus[topology.names[0]] == "0-23"


def test_an_a3_in_a_container_has_dies_by_physical_id_and_no_affinity() -> None:
    """Nothing is taken for the CPUs where the column is missing."""
    topology = parse_topology(TOPOLOGY_A3_WITHOUT_AFFINITY)
    assert topology is not None
    assert topology.names == ("Phy-ID4", "Phy-ID5", "Phy-ID6")
    assert topology.connections["Phy-ID4", "Phy-ID5"] == "SIO"
    assert topology.connections["Phy-ID6", "Phy-ID4"] == "HCCS_SW"
    assert topology.cpus == {}


def test_network_cards_are_rows_and_columns_of_newer_tools() -> None:
    """Each has its name below the matrix."""
    topology = parse_topology(TOPOLOGY_WITH_NICS)
    assert topology is not None
    assert topology.connections["NPU0", "NIC0"] == "PIX"
    assert topology.connections["NIC0", "NPU1"] == "SYS"
    assert topology.cpus == {"NPU0": "0-63,128-191", "NPU1": "64-127,192-255"}
    assert topology.nics == {"NIC0": "hrn5_0"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This device does not support querying topo.\n",
        TOPOLOGY_A3_WITHOUT_AFFINITY.replace("Phy-ID5    SIO        X          HCCS_SW\n", ""),
        TOPOLOGY_A3_WITHOUT_AFFINITY.replace("Phy-ID5    SIO        X          HCCS_SW\n", "Phy-ID5    SIO        X\n"),
        TOPOLOGY_A3_WITHOUT_AFFINITY.replace("Phy-ID5    SIO        X ", "Phy-ID5    X          SIO"),
        TOPOLOGY_A3_WITHOUT_AFFINITY[: TOPOLOGY_A3_WITHOUT_AFFINITY.index("Phy-ID6    HCCS")],
    ],
)
def test_a_matrix_that_is_not_whole_is_none(text: str) -> None:
    """A missing row or cell does not shift the others."""
    assert parse_topology(text) is None


def test_a_superpod_is_told_or_not_supported() -> None:
    """A3 has an SDID and a server, some boards of 950 a chassis and a type."""
    block = queries.blocks(npu_smi.answer(node_of("A3", 2), ["info", "-t", "spod-info", "-i", "0"]).stdout)[1]
    assert parse_superpod(block) == SuperPod(size=16, pod_id=0, sdid=1, server_index=0)
    text = "\tSuper Pod Size : 64\n\tSuper Pod ID : 3\n\tChassis ID : 2\n\tSuper Pod Type : 1\n"
    assert parse_superpod(queries.blocks(text)[0]) == SuperPod(size=64, pod_id=3, chassis_id=2, pod_type=1)
    assert parse_superpod(queries.blocks("This device does not support querying spod-info.\n").get(0, {})) is None


def test_scrolling_lines_are_read_by_their_header() -> None:
    """NA and `-` are unknown; a line that is cut is left out; other columns by `-s` are no obstacle."""
    first, second = parse_watch(WATCH_A3)
    assert first == WatchRow(
        npu_id=3,
        chip_id=0,
        values={
            "Pwr(W)": 178.5, "Temp(C)": 36, "AI Core(%)": 99, "AI Cpu(%)": 0, "Ctrl Cpu(%)": 2, "Memory(%)": 88,
            "Memory BW(%)": 41, "NPU Util(%)": 100, "AI Cube(%)": 97,
        },
    )  # fmt: skip
    assert (second.chip_id, second.values["Pwr(W)"], second.values["Temp(C)"]) == (1, None, None)
    assert parse_watch("NpuID(Idx)  Pwr(W)      Temp(C)     \n7           97.0        41          \n") == [
        WatchRow(npu_id=7, chip_id=None, values={"Pwr(W)": 97.0, "Temp(C)": 41})
    ]
    assert parse_watch("0           0           97.0\nNo header\n") == []
