"""A run on four simulated nodes ends by an ECC error: real agents and a real Prometheus record one interruption."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from accelwatch.clock import SystemClock
from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario
from e2e.test_simulated_nodes import accelwatch, until

pytestmark = pytest.mark.e2e
RULES = sorted((Path(__file__).parents[2] / "alerts" / "rules").glob("*.yml"))
NODES = ("n1", "n2", "n3", "n4")
ABORT = 6

Query = Callable[[str], list[Any]]


class Rig:
    """The hardware in real time, an agent for each node, and a Prometheus with the shipped rules."""

    def __init__(self, directory: Path) -> None:
        nodes = tuple(NodeSpec(name=name, vendor="nvidia", family="hopper", devices=2) for name in NODES)
        ports = _free_ports(1 + len(nodes))
        self.hardware = Hardware(
            Scenario(nodes=nodes, runs=(RunSpec(id="4711", nodes=NODES),)), directory, SystemClock(), ports[1:]
        )
        self.children = Children(directory)
        self.hardware.start()
        for name in NODES:
            self.children.start(
                f"agent-{name}", accelwatch("--config", str(directory / name / "accelwatch.yml"), "agent")
            )
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"node": name, "cluster": "c", "rack": "r1"}}
            for name, port in zip(NODES, ports[1:], strict=True)
        ]
        configuration = directory / "prometheus.yml"
        document = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in RULES],
            "scrape_configs": [{"job_name": "accelwatch", "static_configs": targets}],
        }
        configuration.write_text(yaml.safe_dump(document))
        self._address = f"127.0.0.1:{ports[0]}"
        self.children.start(
            "prometheus",
            ["prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={directory / 'tsdb'}",
             f"--web.listen-address={self._address}"],
        )  # fmt: skip

    def query(self, expression: str) -> list[Any]:
        """An instant query."""
        quoted = urllib.parse.quote(expression)
        with urllib.request.urlopen(f"http://{self._address}/api/v1/query?query={quoted}", timeout=5) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
        return result

    def close(self) -> None:
        self.children.close()
        self.hardware.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def test_one_interruption_with_its_cause_and_culprit(rig: Rig) -> None:
    """It is recorded seconds after the ranks have died, by the cause that node 3's agent gives at once."""
    until("the run on four nodes", lambda: len(rig.query('accelwatch_run_devices{run_id="4711"} == 2')) == 4)
    until(
        "that it works", lambda: len(rig.query("accelwatch_device_last_progress_timestamp_seconds > time() - 5")) == 8
    )
    assert not rig.query("accelwatch:run_interruption:cause_timestamp_seconds")
    rig.hardware.inject(FaultSpec(fault="ecc_uncorrected", node="n3", device=1, parameters={"cascade": 1}))
    active = 'accelwatch_fault_active{class="mem_uncorrectable",fault_severity="run_ending",run_id="4711"} == 1'
    (fault,) = until("the fault", lambda: rig.query(active), 5)
    assert (fault["metric"]["node"], fault["metric"]["device"]) == ("n3", "1")
    for name in ("n3", "n1", "n2", "n4"):
        rig.hardware.inject(FaultSpec(fault="process_death", node=name, parameters={"signal": ABORT}))
    (found,) = until(
        "the interruption",
        lambda: rig.query('accelwatch:run_interruption:cause_timestamp_seconds{class="mem_uncorrectable"}'),
        15,
    )
    labels = {name: found["metric"][name] for name in ("cluster", "run_id", "attempt", "node", "device", "outcome")}
    assert labels == {
        "cluster": "c", "run_id": "4711", "attempt": "0", "node": "n3", "device": "1", "outcome": "failed",
    }  # fmt: skip
    until("the end on every node", lambda: len(rig.query("accelwatch_run_end_timestamp_seconds")) == 4, 15)
    until("the sum of all shares", lambda: len(rig.query("accelwatch:run_node:lost_device_seconds")) == 4, 5)
    (lost,) = until("the loss", lambda: rig.query("accelwatch:run_interruption:lost_device_seconds"), 5)
    # Eight devices, read each second until their ranks died within a second or two.
    assert 0 <= float(lost["value"][1]) < 8 * 5
    assert len(rig.query("accelwatch:run_interruption:cause_timestamp_seconds")) == 1
