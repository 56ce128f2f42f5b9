"""Scenario files: what is accepted, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelwatch.simulator import scenario
from accelwatch.simulator.scenario import SHIPPED, ScenarioError


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "s.yml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yml")))
def test_shipped_scenario_loads_by_name(name: str) -> None:
    """Every shipped scenario loads by its name alone and has nodes of both vendors."""
    loaded = scenario.load(name)
    assert {node.vendor for node in loaded.nodes} == {"nvidia", "ascend"}


def test_two_vendors_is_the_cluster_of_make_run() -> None:
    """`two-vendors` holds two nodes of eight H100, one of eight 910B and one A3 of sixteen dies."""
    nodes = scenario.load("two-vendors").nodes
    assert [(node.family, node.devices) for node in nodes] == [
        ("hopper", 8),
        ("hopper", 8),
        ("910B", 8),
        ("A3", 16),
    ]


def test_all_keys(tmp_path: Path) -> None:
    """Durations, phases, runs, a start and faults with parameters all arrive."""
    loaded = scenario.load(
        written(
            tmp_path,
            """
nodes: [{name: n, vendor: nvidia, family: hopper, devices: 2, model: NVIDIA H20}]
speed: 10
start: 2026-01-02T03:04:05Z
workload: [{at: 0s, phase: idle}, {at: 1m, phase: train, ramp: 20s, period: 8s, noise: 0.02, node: n, device: 1}]
runs: [{id: j1, nodes: [n], launcher: torchrun}]
faults: [{at: 90s, node: n, device: 1, fault: xid, parameters: {xid: 31}, clear_after: 500ms}]
""",
        )
    )
    assert loaded.nodes[0].model == "NVIDIA H20"
    assert loaded.start is not None
    assert loaded.start.timestamp() == 1767323045.0
    assert (loaded.workload[1].at, loaded.workload[1].ramp, loaded.workload[1].device) == (60.0, 20.0, 1)
    assert loaded.runs is not None
    assert loaded.runs[0].launcher == "torchrun"
    assert (loaded.faults[0].at, loaded.faults[0].clear_after, loaded.faults[0].parameters) == (90.0, 0.5, {"xid": 31})


NODES = "nodes: [{name: n, vendor: nvidia, family: hopper, devices: 2}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes: [{name: n, vendor: amd, family: x}]", "vendor"),
        ("nodes: [{name: n, vendor: nvidia, family: 910B}]", "family '910B'"),
        ("nodes: [{name: n, vendor: nvidia, family: hopper, devices: 0}]", "devices 0"),
        (NODES + "spede: 2", "spede"),
        (NODES + "speed: 0", "speed 0"),
        (NODES + "faults: [{node: n, fault: explode}]", "explode"),
        (NODES + "faults: [{node: m, fault: lost, device: 0}]", "no node 'm'"),
        (NODES + "faults: [{node: n, fault: lost, device: 2}]", "devices 0 to 1, not 2"),
        (NODES + "workload: [{node: n, device: 7}]", "devices 0 to 1, not 7"),
        (NODES + "workload: [{device: 0}]", "without its node"),
        (NODES + "runs: [{id: a, nodes: [m]}]", "no node 'm'"),
        (NODES + "workload: [{phase: dance}]", "dance"),
        ("nodes: [{name: n", "s.yml"),
    ],
)
def test_a_bad_scenario_is_refused_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    """The error names the file and what is wrong in it."""
    with pytest.raises(ScenarioError) as caught:
        scenario.load(written(tmp_path, text))
    assert "s.yml" in str(caught.value)
    assert said in str(caught.value)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    """A name that is neither a file nor shipped is answered with the shipped names."""
    with pytest.raises(ScenarioError, match="one-of-each, two-vendors"):
        scenario.load("no-such-scenario")
