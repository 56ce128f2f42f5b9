"""64 nodes in one process, scraped by a real Prometheus with the shipped rules."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from accelwatch import shipped
from accelwatch.simulator.cluster import Children, _free_ports
from e2e.test_simulated_nodes import accelwatch, run, until
from prometheus_history import needs_prometheus

pytestmark = [pytest.mark.e2e, needs_prometheus]
NODES, SCRAPE_SECONDS = 64, 2


class Served:
    """A fleet and its Prometheus."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.children = Children(directory)
        self.fleet = subprocess.Popen(
            accelwatch(
                "simulate", "fleet", "--nodes", str(NODES), "--dir", str(directory), "--step", "5s", "--cluster", "c",
                "--no-workload", "--no-faults", "--run", f"4711:nodes={NODES}",
            ),
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        until("targets.json", (directory / "targets.json").exists, 60)
        (port,) = _free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
            "rule_files": [str(shipped.alerts() / "rules" / "*.yml")],
            **yaml.safe_load((directory / "scrape.yml").read_text()),
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.children.start(
            "prometheus",
            ["prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
        )  # fmt: skip

    def ask(self, query: str) -> list[dict[str, Any]]:
        question = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{question}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def value(self, query: str) -> float | None:
        found = self.ask(query)
        return float(found[0]["value"][1]) if found else None

    def order(self, *words: str) -> None:
        done = run("simulate", words[0], str(self.directory), *words[1:])
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        self.children.close()
        self.fleet.kill()
        self.fleet.communicate(timeout=10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def test_prometheus_takes_all_of_it(served: Served) -> None:
    """Every node is up, one run spans them all, faults and dark nodes are told as those of real agents are."""
    until("all nodes", lambda: served.value("count(up == 1)") == NODES, 60)
    assert served.value("count(count by (instance) (up))") == NODES
    assert served.value("count(accelwatch_device_up == 1)") == NODES * 8
    assert {row["metric"]["vendor"] for row in served.ask("count by (vendor) (accelwatch_device_up)")} == {
        "nvidia", "ascend",
    }  # fmt: skip
    until("the run's size", lambda: served.value('accelwatch:run:size{run_id="4711"}') == NODES * 8)
    until("its devices", lambda: served.value('accelwatch:run:devices{run_id="4711"}') == NODES * 8)
    served.order("inject", "roce_down", "--node", "simnpu-0040", "--device", "2")
    told = 'accelwatch_fault_active{node="simnpu-0040",device="2",class="net_link_down",run_id="4711"} == 1'
    (fault,) = until("the fault", lambda: served.ask(told))
    assert fault["metric"]["rack"] == "r005"
    assert fault["metric"]["cluster"] == "c"
    served.order("steer", "dark", "simgpu-0001")
    until("the dark node", lambda: [r["metric"]["node"] for r in served.ask("up == 0")] == ["simgpu-0001"])
    served.order("steer", "back", "simgpu-0001")
    until("all nodes again", lambda: served.value("count(up == 1)") == NODES)
    assert not served.ask('{__name__=~".+",exported_node!="",__name__!="accelwatch_agent_info"}')


def test_a_page_is_as_prometheus_wants_it(served: Served) -> None:
    """promtool finds nothing to say; SIGTERM ends all of it, and says so."""
    targets = json.loads((served.directory / "targets.json").read_text())
    for group in (targets[0], targets[-1]):
        url = f"http://{group['targets'][0]}{group['labels']['__metrics_path__']}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            page = answer.read()
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=30)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    served.fleet.send_signal(signal.SIGTERM)
    assert served.fleet.stdout is not None
    output = served.fleet.stdout.read()
    served.fleet.wait(20)
    assert served.fleet.returncode == 0
    assert output.startswith(f"SIMULATED fleet: {NODES} nodes, {NODES * 8} devices; none of them is real.")
    assert output.endswith("nothing is left running\n")
    assert sys.executable.rpartition("/")[0] in output
