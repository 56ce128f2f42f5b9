"""The page of a fleet node and that of a real agent on the same simulated hardware have the same series."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
import yaml

from accelwatch.clock import SystemClock
from accelwatch.config import Duration
from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.fleet.fleet import Fleet
from accelwatch.simulator.fleet.plan import HandRun, Placed, Plan
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario
from e2e.test_simulated_nodes import accelwatch, until
from support import FakeClock

pytestmark = pytest.mark.e2e
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# What differs from one node, moment or configuration to the next.
_OWN = {"incident", "config_hash", "node", "serial", "uuid", "le", "cluster", "rack", "simulated", "run_id"}


def series(page: str) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Names, and labels with their values; of those that are one node's own only the names."""
    found = set()
    for line in page.splitlines():
        match = None if line.startswith("#") else _SAMPLE.match(line)
        if match is not None:
            labels = _LABEL.findall(match[2] or "")
            if match[1] == "accelwatch_agent_info":
                labels = [(name, value) for name, value in labels if name not in ("cluster", "rack", "simulated")]
            found.add((match[1], tuple((name, "" if name in _OWN else value) for name, value in labels)))
    return found


@pytest.mark.parametrize("family", ["hopper", "A3"])
def test_series_of_a_node_with_a_run_and_faults(tmp_path: Path, family: str) -> None:
    """In work, with two faults, and after the run's processes have died."""
    vendor = "nvidia" if family == "hopper" else "ascend"
    spec = NodeSpec(name="n", vendor=vendor, family=family, devices=2)  # type: ignore[arg-type]
    (port,) = _free_ports(1)
    scenario = Scenario(nodes=(spec,), runs=(RunSpec(id="4711", nodes=("n",)),))
    hardware, children = Hardware(scenario, tmp_path, SystemClock(), [port]), Children(tmp_path)

    def real() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    clock = FakeClock()
    plan = Plan(nodes=1, devices=2, faults=False, workload=False, runs=(HandRun(id="4711", nodes=1),))
    fleet, name = Fleet(plan, clock, [Placed(spec, "r001")]), "n"
    fleet.begin()

    def simulated() -> str:
        clock.now += 5
        fleet.advance()
        page = fleet.page(name)
        assert page is not None
        return page.text.decode()

    def same() -> bool:
        return series(real()) == series(simulated())

    path = tmp_path / "n" / "accelwatch.yml"
    config = yaml.safe_load(path.read_text())
    for source in ("npu_smi", "hccn_tool"):  # the slow queries of the tools take sixty intervals
        config["sources"].setdefault(source, {})["interval"] = "1s"
    path.write_text(yaml.safe_dump(config))
    # Ascend's code and its count of errors are read at different polls: which comes first is a matter of chance.
    kinds = ("ecc_uncorrected" if vendor == "nvidia" else "error_code", "link_down")
    hardware.start()
    try:
        children.start("agent", accelwatch("--config", str(path), "agent"))
        for step in ("works", "faults", "died"):
            if step == "faults":
                for kind in kinds:
                    fault = FaultSpec(fault=kind, node=name, device=1, at=Duration(0))
                    fleet.inject(fault)
                    hardware.inject(FaultSpec(fault=kind, node="n", device=1))
            if step == "died":
                fleet.inject(FaultSpec(fault="process_death", node=name, parameters={"signal": 6}))
                hardware.inject(FaultSpec(fault="process_death", node="n", parameters={"signal": 6}))
            try:
                until(f"the same page ({step})", same, 40)
            except BaseException:
                one, other = series(real()), series(simulated())
                print(f"{step}: only the agent's:", *sorted(one - other), sep="\n  ")
                print(f"{step}: only the fleet's:", *sorted(other - one), sep="\n  ")
                raise
    finally:
        children.close()
        hardware.close()
